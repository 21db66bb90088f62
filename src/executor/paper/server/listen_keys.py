"""What a client shows to hear of a margin account: tokens for the WebSocket API, keys for the risk stream."""

from typing import Final

LONGEST_TOKEN_MS: Final = 24 * 60 * 60_000
KEY_LIVES_MS: Final = 60 * 60_000


class ListenKeys:
    """Tokens of accounts, by the engine's names, and keys of owners, each with the time (ms) at which it ends."""

    def __init__(self) -> None:
        self._tokens: dict[str, tuple[str, int]] = {}
        self._keys: dict[str, tuple[str, int]] = {}
        self._made = 0

    def new_token(self, account: str, now_ms: int, validity_ms: int) -> tuple[str, int]:
        """A token and when it ends. Older ones of the account hold as long as they were given for."""
        self._made += 1
        token = f"listenToken{self._made:032d}"
        self._tokens[token] = (account, now_ms + min(validity_ms, LONGEST_TOKEN_MS))
        return token, self._tokens[token][1]

    def token(self, token: str, now_ms: int) -> tuple[str, int] | None:
        """Whose it is and when it ends; None for one that is unknown or has ended."""
        found = self._tokens.get(token)
        return found if found is not None and found[1] > now_ms else None

    def open_key(self, owner: str, now_ms: int) -> str:
        """The owner's running key, for another hour, or a new one."""
        for key, (whose, until_ms) in self._keys.items():
            if whose == owner and until_ms > now_ms:
                self._keys[key] = (owner, now_ms + KEY_LIVES_MS)
                return key
        self._made += 1
        key = f"riskListenKey{self._made:032d}"
        self._keys[key] = (owner, now_ms + KEY_LIVES_MS)
        return key

    def extend_key(self, key: str, owner: str, now_ms: int) -> bool:
        """Another hour for a running key; False where it is not the owner's, or has ended."""
        if self.key_owner(key, now_ms) != owner:
            return False
        self._keys[key] = (owner, now_ms + KEY_LIVES_MS)
        return True

    def close_key(self, key: str, owner: str) -> None:
        if self._keys.get(key, ("", 0))[0] == owner:
            del self._keys[key]

    def key_owner(self, key: str, now_ms: int) -> str | None:
        """None for a key that is unknown or has ended."""
        found = self._keys.get(key)
        return found[0] if found is not None and found[1] > now_ms else None
