"""Scripted trades: one for each phase and turn, in both layouts and directions. No chance in them; the enumeration
stops the machine at each of their boundaries in turn.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace
from tests.sim.choices import Choices
from tests.sim.disk import Disk
from tests.sim.setup import CROSS, ISOLATED, LTC, QUOTE, SPARE, Setup
from tests.sim.world import Result, World

from executor.core.model.events import Commanded, Verb
from executor.core.model.ids import Role, parse
from executor.core.model.policy import AfterTp1, EntryMode, Layout, PlanBOrder, Policy, TrailMode
from executor.core.model.values import Direction
from executor.paper.engine.choices import ExchangeChoices

Act = Callable[[World], None]


R: Final = Decimal("0.8")
_POLICY: Final = Policy(
    recv_window_ms=5_000,
    base_fees_leave=True,
    notional=Decimal(900),
    stop_pct=Decimal("0.008"),
    planb_max_dev_r=Decimal(3),
    trail_r=Decimal("0.5"),
    allow_short=True,
    entry_timeout_ms=6_000,
    cooldown_ms=1_000_000,
    cooldown_abort_ms=1_000_000,
)


class Scenario(msgspec.Struct, frozen=True):
    """`acts` happen `pause` ms apart; prices in them are in units of R above the entry, mirrored for a short."""

    name: str
    acts: Sequence[Act]
    policy: Policy = _POLICY
    direction: Direction = Direction.LONG
    spare: bool = False
    thin: bool = False
    pause: int = 2_500
    short: bool = False
    margin: str = ""


def signal(offset: int = 1) -> Act:
    return lambda world: world.signal(direction=world.facing, offset=offset)


def price(r: str, volume: str = "100000") -> Act:
    def act(world: World) -> None:
        world.print_trade(Decimal(100) + world.facing.sign * Decimal(r) * R, Decimal(volume))

    return act


def command(verb: Verb, r: str | None = None) -> Act:
    def act(world: World) -> None:
        level = None if r is None else Decimal(100) + world.facing.sign * Decimal(r) * R
        world.shell.receive(Commanded(at=world.clock.now(), verb=verb, price=level))

    return act


def by_hand(which: int) -> Act:
    return lambda world: world.manual.cancel(which)


def sold_by_hand(world: World) -> None:
    world.manual.sell()


def refuse_exits(world: World) -> None:
    """The exchange takes none of the exits that entries bring, from here on (rule 13.3)."""
    world.engine._matcher.refuses_pending = lambda _: True


def say(code: int, text: str) -> Act:
    """The next order is answered so and stands, and no push tells of it."""

    def act(world: World) -> None:
        world.wire.says = code, text
        world.wire.silent_until = world.timeline.now + 60_000

    return act


def hold_fast(*roles: Role, locks: bool = False) -> Act:
    """For half a minute no cancel moves the orders of these roles; of all where none is named (rule 8.7)."""

    def act(world: World) -> None:
        named = [(order, parse(order)) for order in world.outside.ours_open()]
        held = [order for order, name in named if not roles or (name is not None and name.role in roles)]
        world.wire.hold_fast(held, world.timeline.now + 30_000, locks=locks)

    return act


def unread(world: World) -> None:
    """For twenty seconds no order can be looked at, though all else can be read."""
    world.wire.unread_until = world.timeline.now + 20_000


def wait(world: World) -> None:
    """Let time pass."""


_STOPPED: Final = (signal(), price("0"), price("-1.01"), price("-1.01"))
_TO_TP1: Final = (signal(), price("0"), price("1.2"))
_TO_TP2: Final = (*_TO_TP1, price("1.7"), price("2.3"))
_PLAIN: Final = replace(_POLICY, layout=Layout.PLAIN)
_BRACKET: Final = replace(_POLICY, layout=Layout.BRACKET)


def _both(name: str, acts: Sequence[Act], policy: Policy = _POLICY, **more: object) -> list[Scenario]:
    return [
        Scenario(f"{name}, {direction}", acts, policy, direction=direction, **more)  # type: ignore[arg-type]
        for direction in Direction
    ]


SCENARIOS: Final = (
    Scenario("stop at once, long", _STOPPED, short=True),
    Scenario("stop at once, short", _STOPPED, direction=Direction.SHORT),
    *_both("targets, then the trail", (*_TO_TP2, price("2.6"), price("2.0"), price("2.0"))),
    *_both("plain layout to its stop", (*_TO_TP1, price("-0.2"), price("-1.1"), price("-1.1")), _PLAIN, spare=True),
    Scenario("plain layout to its targets", (*_TO_TP2, price("3"), price("2.0")), _PLAIN, spare=True),
    Scenario(
        "native trail",
        (*_TO_TP2, price("3"), price("2.0")),
        replace(_POLICY, trail_mode=TrailMode.NATIVE),
    ),
    Scenario("back to breakeven", (*_TO_TP1, price("0.9"), price("-0.1"), price("-0.1")), _POLICY),
    Scenario("stops kept after the first target", (*_TO_TP1, price("-1.1")), replace(_POLICY, after_tp1=AfterTp1.KEEP)),
    *_both("entry times out, bought at market", (signal(-8), price("0"), wait, wait, wait, price("-1.1"), wait)),
    Scenario(
        "entry half filled, bought with a limit",
        (signal(-4), price("-0.3", "3"), wait, wait, wait, price("-1.1"), wait),
        replace(_POLICY, planb_order=PlanBOrder.LIMIT_IOC),
    ),
    Scenario(
        "entry half filled, stopped under it",
        (signal(-4), price("-0.3", "3"), wait, price("-1.4"), wait, wait, wait),
    ),
    Scenario(
        "entry given up",
        (signal(-8), wait, wait, wait, wait),
        replace(_POLICY, entry_mode=EntryMode.LIMIT_ONLY),
        short=True,
    ),
    Scenario(
        "entry at market, filled in parts",
        (signal(), wait, price("-1.1")),
        replace(_POLICY, entry_mode=EntryMode.MARKET_ONLY),
        thin=True,
    ),
    Scenario(
        "target half filled, price falls back", (signal(), price("0"), price("1.2", "1"), price("-1.1"), wait, wait)
    ),
    Scenario(
        "target half filled, then closed",
        (signal(), price("0"), price("1.2", "1"), price("0.5"), command(Verb.FLATTEN), wait),
    ),
    Scenario("stop jumped over", (signal(), price("0"), price("-4"), wait, wait, wait)),
    Scenario("an exit taken away twice", (signal(), price("0"), by_hand(4), wait, wait, by_hand(4), wait, wait)),
    Scenario("sold by hand", (signal(), price("0"), sold_by_hand, wait, wait, wait)),
    Scenario(
        "stop moved, then closed",
        (signal(), price("0.6"), command(Verb.MOVE_STOP, "-0.4"), wait, command(Verb.FLATTEN), wait),
    ),
    Scenario("held too long", (signal(), wait, wait, wait, wait), replace(_POLICY, max_hold_ms=6_000), spare=True),
    *_both("brackets to the trail", (signal(-4), price("-0.3"), *_TO_TP2[2:], price("2.6"), price("2.0")), _BRACKET),
    Scenario(
        "a bracket filled in part, then whole",
        (signal(-4), price("-0.3", "4"), wait, price("-0.4"), wait, price("-1.3")),
        _BRACKET,
    ),
    Scenario(
        "a bracket filled in part, then Plan B",
        (signal(-4), price("-0.3", "3"), wait, wait, wait, price("-1.3"), wait),
        _BRACKET,
    ),
    Scenario("brackets on spare base", (signal(-4), price("-0.3"), price("1.2"), price("-0.2")), _BRACKET, spare=True),
    *_both("exits of brackets refused", (signal(-4), refuse_exits, price("-0.3"), wait, price("-1.3"), wait), _BRACKET),
    Scenario(
        "brackets given up",
        (signal(-8), wait, wait, wait, wait),
        replace(_BRACKET, entry_mode=EntryMode.LIMIT_ONLY),
    ),
    Scenario(
        "one small bracket",
        (signal(-4), price("-0.3"), price("1.2")),
        replace(_BRACKET, notional=Decimal(7)),
        short=True,
    ),
    Scenario("one small leg", (signal(), price("0"), price("1.2")), replace(_POLICY, notional=Decimal(7)), short=True),
)


_MARKET: Final = replace(_POLICY, entry_mode=EntryMode.MARKET_ONLY)
_FAR: Final = (signal(-8), wait, wait)
_HELD: Final = (signal(), price("0"))
_CLOSE: Final = (command(Verb.FLATTEN), wait, wait, wait)
CONTRADICTED: Final = (
    Scenario(
        "an entry that is called refused stands",  # sent twice by a gateway: the first has locked the balance
        (say(-2010, "Account has insufficient balance for requested action."), *_FAR),
    ),
    Scenario("an overloaded server has taken an entry", (say(-1008, "Server is overloaded."), signal(), wait), _MARKET),
    Scenario("an internal error has taken an entry", (say(-1001, "Internal error."), signal(), wait), _MARKET),
    Scenario(
        "an unknown error has taken an entry", (say(-1000, "An unknown error occurred."), signal(), wait), _MARKET
    ),
    Scenario(
        "a message bus has taken an entry",
        (say(-1006, "An unexpected response was received."), signal(), wait),
        _MARKET,
    ),
    Scenario("no cancel moves any exit", (*_HELD, hold_fast(), *_CLOSE), spare=True),
    Scenario("no cancel moves the last stop", (*_HELD, hold_fast(Role.SL), *_CLOSE), spare=True),
    Scenario("no cancel moves the last stop, and nothing is sold", (*_HELD, hold_fast(Role.SL, locks=True), *_CLOSE)),
    Scenario(
        "no cancel lets a stop be moved",
        (*_HELD, price("0.6"), hold_fast(), command(Verb.MOVE_STOP, "-0.4"), wait, wait, wait),
    ),
    Scenario(
        "nobody can tell what has become of a cancel, and another leg finds no base",
        (
            *(*_HELD, price("0.6"), unread, hold_fast(Role.TP1, Role.SL1, Role.TP2, Role.SL2, locks=True)),
            *(command(Verb.MOVE_STOP, "-0.4"), by_hand(-1), wait, wait, wait),
        ),
        replace(_POLICY, failsafe_grace_ms=60_000, failsafe_tries=60),
    ),
)
"""Where the exchange says what is not so, or does not do what it is asked. An order that was called refused is found in
the last look of a close, if the look is not behind as well: these are not for every exchange.
"""

ON_MARGIN: Final = (
    Scenario("a long on credit to its stop", _STOPPED, margin=CROSS),
    Scenario(
        "a short on credit to its targets",
        (*_TO_TP2, price("3"), price("2.0")),
        direction=Direction.SHORT,
        margin=ISOLATED,
    ),
    Scenario(
        "an entry on credit given up",
        (signal(-8), wait, wait, wait, wait),
        replace(_POLICY, entry_mode=EntryMode.LIMIT_ONLY),
        direction=Direction.SHORT,
        margin=ISOLATED,
    ),
)
"""On borrowed money: each loan and repayment is a boundary."""


class Stops(Protocol):
    """Something that needs to stop the world's service."""

    crash: Callable[[], None]


def play(
    scenario: Scenario,
    *,
    crash_at: tuple[int, ...] = (),
    disk: Disk | None = None,
    stops: Stops | None = None,
    down: int = 0,
    world: type[World] = World,
    verbose: bool = False,
    exchange: ExchangeChoices | None = None,
) -> Result:
    """`down`: which of `world.DOWN` the service is down after its first crash. `exchange`: how it reads what the
    documents leave open.
    """
    inventory = scenario.spare or (scenario.direction is Direction.SHORT and not scenario.margin)
    setup = Setup(
        policy=scenario.policy,
        balances={
            QUOTE: Decimal(500) if scenario.margin else Decimal(20_000),
            LTC.base: LTC.amount(SPARE) if inventory else Decimal(0),
        },
        margin=scenario.margin,
        thin=scenario.thin,
        trades=1,
        exchange=exchange or ExchangeChoices(),
    )
    choices = Choices(plan=[("down", 0, down)])
    made = world(choices, setup, wild=False, crash_at=crash_at, disk=disk, verbose=verbose)
    made.facing = scenario.direction
    if stops is not None:
        stops.crash = made.crash
    return made.play(scenario.acts, scenario.pause)
