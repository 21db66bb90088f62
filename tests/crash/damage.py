"""Ways in which a state file goes bad: each takes the bytes of a sound one and gives those of a damaged one."""

import json
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from executor.core.model.state import SCHEMA_VERSION
from executor.service.store import codec
from executor.service.store.state_store import seal

Damage = Callable[[random.Random, bytes], bytes]


def _truncated(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) - 1)]


def _bits_flipped(rng: random.Random, data: bytes) -> bytes:
    torn = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        torn[rng.randrange(len(torn))] ^= 1 << rng.randrange(8)
    return bytes(torn)


def _block_of_zeros(rng: random.Random, data: bytes) -> bytes:
    """What a file system that lost a block leaves."""
    at = rng.randrange(len(data))
    hole = min(rng.choice((16, 512, 4096)), len(data) - at)
    return data[:at] + bytes(hole) + data[at + hole :]


def _empty(rng: random.Random, _: bytes) -> bytes:
    return rng.choice((b"", b" ", b"\n\n", b"\x00", bytes(4096), b"\xef\xbb\xbf"))


def _garbage(rng: random.Random, data: bytes) -> bytes:
    return rng.randbytes(rng.choice((1, 64, len(data))))


def _other_json(rng: random.Random, _: bytes) -> bytes:
    return rng.choice((b"{}", b"[]", b"null", b'"state"', b"0", b"1e999", b"NaN", b'{"schema_version":1}', b"{}{}"))


def _halves_swapped(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(1, len(data) - 1)
    return data[at:] + data[:at]


def _line_lost(rng: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    return b"".join(lines)


def _line_twice(rng: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    return b"".join([*lines[: at + 1], *lines[at:]])


def _tail_of_another(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(
        len(data) // 10, len(data) - 1
    )  # nearer the beginning it repeats white space alone, which may change
    return data[:at] + data[at // 2 :]


def _deep(rng: random.Random, data: bytes) -> bytes:
    depth = rng.choice((100, 2_000, 200_000))
    nest = b"[" * depth + b"]" * depth if rng.random() < 0.5 else b'{"a":' * depth + b"1" + b"}" * depth
    return rng.choice((nest, data[:-2] + b',"more":' + nest + b"}"))


def _huge_numbers(rng: random.Random, data: bytes) -> bytes:
    number = rng.choice((b"1" * 5_000, b"1e400", b"-1e99999999", b"9" * 400_000, b"0." + b"0" * 9_000 + b"1"))
    return data.replace(b'"cooldown_until": 0', b'"cooldown_until": ' + number).replace(
        b": 0,", b": " + number + b",", 1
    )


def _key_twice(rng: random.Random, data: bytes) -> bytes:
    key = rng.choice((b'"halted": ""', b'"schema_version": 1', b'"position": null', b'"checksum": "00"'))
    return data[:-2] + b", " + key + b"}\n" if rng.random() < 0.5 else data.replace(b"{", b"{" + key + b", ", 1)


def _utf16(rng: random.Random, data: bytes) -> bytes:
    return data.decode().encode(rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig")))


def _value_edited(rng: random.Random, data: bytes) -> bytes:
    """A person changes a value and leaves the checksum."""
    document = json.loads(data)
    members = [name for name in document if name not in ("schema_version", "checksum")]
    document[rng.choice(members)] = rng.choice((7, "x", True, [1], {"a": 1}, -0.5))
    return json.dumps(document, indent=2).encode()


def _sealed_nonsense(rng: random.Random, data: bytes) -> bytes:
    """The checksum is right, what it seals is not a state: types, names, contradictions."""
    document = members(data)
    for _ in range(rng.choice((1, 1, 3))):
        if not document:
            break
        name = rng.choice(sorted(document))
        match rng.randrange(4):
            case 0:
                del document[name]
            case 1:
                document[name] = rng.choice(({"trade": 1}, "1e5x", [None], -1.5, True, "\x00", {"position": {}}))
            case 2:
                _bend(rng, document)
            case _:
                document["orders"] = {
                    "entry": [],
                    "tp1": [],
                    "tp2": [],
                    "sl": [],
                    "qty1": "1",
                    "qty2": "1",
                    "qty3": "7",
                }
    return seal(document or {"a": 1}, SCHEMA_VERSION)


def _bend(rng: random.Random, value: Any) -> None:
    """Change one thing somewhere inside."""
    while isinstance(value, dict | list) and value:
        key = rng.choice(sorted(value)) if isinstance(value, dict) else rng.randrange(len(value))
        if not isinstance(value[key], dict | list) or not value[key] or rng.random() < 0.2:
            value[key] = rng.choice((None, "", "NaN", "-1", 0.1, [], {}, 10**30, "EX_1_SL_1"))
            return
        value = value[key]


def _newer(rng: random.Random, data: bytes) -> bytes:
    return seal(members(data), SCHEMA_VERSION + rng.choice((1, 2, 999)))


def _older(_: random.Random, data: bytes) -> bytes:
    return seal(members(data), 0)


def _other_symbol(_: random.Random, data: bytes) -> bytes:
    return seal({**members(data), "symbol": "BTCUSDT"}, SCHEMA_VERSION)


def _other_venue(_: random.Random, data: bytes) -> bytes:
    return seal({**members(data), "venue": "live"}, SCHEMA_VERSION)


def _too_big(rng: random.Random, data: bytes) -> bytes:
    return data + b" " * (17 * 1024 * 1024) if rng.random() < 0.05 else data[:-2] + b"," + b'"a":0,' * 20_000


def members(data: bytes) -> dict[str, Any]:
    document: dict[str, Any] = codec.decode(codec.compact(data), type=dict)
    return {name: value for name, value in document.items() if name not in ("schema_version", "checksum")}


KINDS: Final[Mapping[str, Damage]] = {
    "truncated": _truncated,
    "bits flipped": _bits_flipped,
    "a block of zeros": _block_of_zeros,
    "empty": _empty,
    "garbage": _garbage,
    "other JSON": _other_json,
    "halves swapped": _halves_swapped,
    "a line lost": _line_lost,
    "a line twice": _line_twice,
    "the tail of another": _tail_of_another,
    "deep nesting": _deep,
    "huge numbers": _huge_numbers,
    "a key twice": _key_twice,
    "another encoding": _utf16,
    "a value edited": _value_edited,
    "sealed nonsense": _sealed_nonsense,
    "newer schema": _newer,
    "older schema": _older,
    "another symbol": _other_symbol,
    "another exchange": _other_venue,
    "too big": _too_big,
}
