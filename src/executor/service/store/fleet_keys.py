"""Where what lies in the fleet's store: every key begins with /executor/<fleet>/."""

from urllib.parse import quote, unquote

ROOT = "/executor"


class Keys:
    """The keys of one fleet. Names are quoted, so that none of them reaches into another's place."""

    def __init__(self, fleet: str) -> None:
        self.root = f"{ROOT}/{_safe(fleet)}/"

    @property
    def control(self) -> str:
        """Under which lies what every node watches: nodes, owners, drains, wishes."""
        return self.root + "ctl/"

    @property
    def nodes(self) -> str:
        return self.control + "node/"

    def node(self, node: str) -> str:
        """That a node lives, and how it is; on its lease."""
        return self.nodes + _safe(node)

    @property
    def owners(self) -> str:
        return self.control + "own/"

    def owner(self, account: str) -> str:
        """Who owns an account; on the owner's lease. The revision at which it was made is the epoch."""
        return self.owners + _safe(account)

    @property
    def drains(self) -> str:
        return self.control + "drain/"

    def drain(self, node: str) -> str:
        """That a node is to give its accounts away; until somebody takes the key away."""
        return self.drains + _safe(node)

    def want(self, account: str) -> str:
        """Which node an operator wants an account on."""
        return self.wants + _safe(account)

    @property
    def wants(self) -> str:
        return self.control + "want/"

    @property
    def generation(self) -> str:
        """When an operator last had the fleet go on from a copy of its store, in ms."""
        return self.control + "generation"

    def states(self, account: str = "") -> str:
        return f"{self.root}state/{_safe(account)}/" if account else self.root + "state/"

    def state(self, account: str, symbol: str) -> str:
        return self.states(account) + _safe(symbol)

    def signals(self, account: str) -> str:
        return f"{self.root}sig/{_safe(account)}/"

    def signal(self, account: str, symbol: str, id: str) -> str:  # noqa: A002  (the field's word)
        """A signal that waits for its account's owner."""
        return f"{self.signals(account)}{_safe(symbol)}/{_safe(id)}"

    def seen(self, account: str, symbol: str, id: str) -> str:  # noqa: A002
        """That a signal was put once, so that it is not put again; on a lease that outlasts its use."""
        return f"{self.root}seen/{_safe(account)}/{_safe(symbol)}/{_safe(id)}"

    def commands(self, account: str) -> str:
        return f"{self.root}cmd/{_safe(account)}/"

    def command(self, account: str, symbol: str, id: str) -> str:  # noqa: A002
        """An operator's word to an account's owner, wherever that is."""
        return f"{self.commands(account)}{_safe(symbol)}/{_safe(id)}"

    def answer(self, id: str) -> str:  # noqa: A002
        """What came of a command; on a lease of a minute."""
        return f"{self.root}ans/{_safe(id)}"

    @property
    def alerts(self) -> str:
        return f"{self.root}alert/"

    def alerts_of(self, node: str) -> str:
        return f"{self.alerts}{_safe(node)}/"

    def alert(self, node: str, number: int) -> str:
        """An alert that a node has raised and that has not gone out yet."""
        return f"{self.alerts_of(node)}{number}"

    def bot_seat(self, bot: str) -> str:
        """Which node reads a Telegram bot's updates; on a lease. `bot`: what its token is known by."""
        return f"{self.root}bot/{_safe(bot)}/seat"

    def bot_place(self, bot: str) -> str:
        """How far they have been taken, by whichever node."""
        return f"{self.root}bot/{_safe(bot)}/place"

    # --- read back ------------------------------------------------------------------------------------------------

    def name_in(self, key: str) -> str:
        """The last name in a key."""
        return unquote(key.rpartition("/")[2])

    def names_in(self, key: str, count: int = 0) -> tuple[str, ...]:
        """All names in a key, after the fleet's and the kind; none where it is not `count` of them, if that is given:
        somebody else has put it there.
        """
        names = tuple(unquote(part) for part in key.removeprefix(self.root).split("/")[1:])
        return names if count in (0, len(names)) else ()


def _safe(name: str) -> str:
    """`name` without what would make it another key; letters, digits and the like stay readable."""
    return quote(name, safe="")
