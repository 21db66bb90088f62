"""Every number that is taken can be computed with, shown and written into the journal."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from executor.config import SettingsError, load_settings
from executor.config.kinds import as_text
from executor.config.sources import FIELDS
from executor.service.store import codec

NUMBERS: Final = sorted(name for name, info in FIELDS.items() if "Decimal" in str(info.annotation))


def written(name: str, number: str) -> str:
    """`number` in the form that the setting has."""
    return {"PAPER_BALANCES": f"USDT={number}", "QTY_SPLIT": f"1,{number},{number}"}.get(name, number)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("text", ["1e-101", "1e-400", "1e-999999999999", "0e-999999999999", "1e999999999999"])
def test_one_that_can_t_be_written_out_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({name: written(name, text)}, None)
    (fault,) = caught.value.faults
    assert fault.name == name
    assert text in fault.was


@given(st.sampled_from(NUMBERS), st.integers(0, 10**20), st.integers(-130, 30) | st.integers(-(10**12), 10**12))
@example("BRACKET_PART_SEC", 0, 101)
@example("QTY_SPLIT", 0, 101)
@example("MAX_POSITION_USD", 1, 0)
def test_any_other_can_be_written(name: str, digits: int, exponent: int) -> None:
    try:
        value = getattr(load_settings({name: written(name, f"{digits}e{exponent}")}, None), name.lower())
    except SettingsError as error:
        # Either end is right. Where two settings contradict each other, the fault is the one's and names the other.
        assert all(name in f"{fault.name} {fault.must}" for fault in error.faults)  # noqa: PT017
        return
    assert len(as_text(value)) < 80
    assert codec.encode(dict(value) if isinstance(value, Mapping) else value)


@pytest.mark.parametrize("name", [*NUMBERS, "SWING_MINS", "HTTP_PORT"])
@pytest.mark.parametrize(
    "text",
    [
        "1_5",
        "1__5",
        "_1",
        "\uff11",
        "\u0661\u0662",
        "1\u06605",
        "1 5",
        "1,5_0",
        "0x1",
        "Infinity",
        "1e99999999999999999999",
    ],
)
def test_a_number_is_written_with_plain_digits(name: str, text: str) -> None:
    """1_5 was 15, though a point may have been meant."""
    with pytest.raises(SettingsError) as caught:
        load_settings({name: written(name, text)}, None)
    assert name in {fault.name for fault in caught.value.faults}


@pytest.mark.parametrize(("text", "value"), [(" 3 ", 3), ("+3", 3), ("3.", 3), (".5", "0.5"), ("003", 3), ("3E0", 3)])
def test_any_plain_way_to_write_it_is_taken(text: str, value: str | int) -> None:
    assert load_settings({"QTY": text}, None).qty == Decimal(value)
