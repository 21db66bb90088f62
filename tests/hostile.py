"""What may come from outside: sound documents with something wrong in them, and bytes that are nothing at all."""

import copy
import json
from typing import Any, Final

from hypothesis import strategies as st

DEEP: Final = 3_000

ODD: Final[list[Any]] = [
    None, True, False, "", " ", "NaN", "-NaN", "sNaN", "Infinity", "-Infinity", "1E+999999", "1E-999999", "0E+999999",
    "1E+999999999999999999", "-1", "-0", "1_000", "\u0661\u0662", "9" * 400, "0." + "1" * 400, "12", "x" * 2_000,
    "\ud800", "\u0000", "EX_", "EX_1_SL_1", 0, -1, 1.5, 1e308, 2**31, 2**63, 2**64, 2**200, -(2**63), 10**30,
    [], {}, [[]], [1, "2"], {"code": -2010}, {"symbol": 5}, [None] * 20,
]  # fmt: skip
"""In the place of any value."""

odd: Final = st.sampled_from(ODD)
_text: Final = st.text(max_size=12)
anything: Final = st.recursive(
    odd | st.floats() | st.integers() | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=12,
)
noise: Final = st.sampled_from([
    b"", b" ", b"\xff", b"\xef\xbb\xbf{}", b"null", b"[]", b"{}", b'""', b"0", b"NaN", b"<html>403 Forbidden</html>",
    b'{"code":-1000,"msg":"Acc\xe8s refus\xe9"}', b'{"a":"\\ud800"}', b"[" * DEEP, b'{"a":' * DEEP,
    b"[" * 900 + b"]" * 900, b"\0" * 100, "{}".encode("utf-16"), b'{"code":"-2010","msg":null}',
    b'{"code":1E400,"msg":"x"}', b"9" * 4_500,
    b'{"code":' + b"9" * 4_500 + b"}", b'{"retry_after":1e999}',
]) | st.binary(max_size=60)  # fmt: skip


def _paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [here]
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        found += _paths(inner, (*here, key))
    return found


@st.composite
def mutants(draw: st.DrawFn, sound: bytes) -> bytes:
    """The document `sound` with one to three things wrong: a value, a member more or less, a byte."""
    value = json.loads(sound)
    for _ in range(draw(st.integers(1, 3))):
        value = _mutated(draw, value)
    data = json.dumps(value).encode()
    match draw(st.integers(0, 6)):
        case 0:
            return data[: draw(st.integers(0, len(data)))]
        case 1:
            at = draw(st.integers(0, len(data) - 1))
            return data[:at] + draw(st.binary(min_size=1, max_size=3)) + data[at + 1 :]
        case _:
            return data


def _mutated(draw: st.DrawFn, value: Any) -> Any:
    value = copy.deepcopy(value)
    path = draw(st.sampled_from(_paths(value)))
    if not path:
        return draw(st.sampled_from([value, [value], {"data": value}]) | anything)
    parent = value
    for key in path[:-1]:
        parent = parent[key]
    match draw(st.integers(0, 4)):
        case 0:
            del parent[path[-1]]
        case 1 if isinstance(parent, dict):
            parent["unheard of"] = draw(anything)
        case 2 if isinstance(parent[path[-1]], str | int | float):
            parent[path[-1]] = draw(
                st.sampled_from([str(parent[path[-1]]), f'"{parent[path[-1]]}"', [parent[path[-1]]]])
            )
        case _:
            parent[path[-1]] = draw(anything)
    return value


def bodies(*sound: bytes) -> st.SearchStrategy[bytes]:
    """Bodies that ought to be like one of `sound`."""
    return st.one_of(*(mutants(each) for each in sound), noise, anything.map(_dumped))


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()
