from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ops.samples import ACCOUNT, START, Walk

from executor.cli.books import close_books
from executor.core.model.policy import Layout, Policy
from executor.core.model.values import ZERO, OrderSide
from executor.ops.account import Booking, as_text, balance

UNIT = Decimal("0.00000001")
amounts = st.decimals(0, 1_000, places=8)
bookings = st.builds(
    Booking,
    side=st.sampled_from(OrderSide),
    base=st.just("LTC"),
    quote=st.just("USDT"),
    qty=amounts,
    quote_qty=amounts,
    commission=amounts,
    commission_asset=st.sampled_from(["LTC", "USDT", "BNB"]),
)


def settled(start: dict[str, Decimal], fills: list[Booking]) -> dict[str, Decimal]:
    """What an account comes to, fill by fill."""
    end = dict(start)
    for fill in fills:
        bought = fill.side is OrderSide.BUY
        end["LTC"] = end.get("LTC", ZERO) + (fill.qty if bought else -fill.qty)
        end["USDT"] = end.get("USDT", ZERO) + (-fill.quote_qty if bought else fill.quote_qty)
        end[fill.commission_asset] = end.get(fill.commission_asset, ZERO) - fill.commission
    return end


@given(st.lists(bookings, max_size=20), st.sampled_from(["LTC", "USDT", "BNB"]), st.sampled_from([UNIT, -UNIT]))
def test_the_last_unit_is_missed(fills: list[Booking], asset: str, off: Decimal) -> None:
    end = settled(START, fills)
    assert balance(START, fills, end, []).faults == []
    wrong = {**end, asset: end.get(asset, ZERO) + off}
    (fault,) = balance(START, fills, wrong, []).faults
    assert fault.startswith(f"{asset}: ")
    assert f"{off:f}" in fault


def test_an_order_left_behind_is_a_fault_of_a_flat_account() -> None:
    left = ["EX_1_SL_2", "someone-elses"]
    flat = balance(START, [], START, left)
    assert flat.left == ("EX_1_SL_2",)
    assert len(flat.faults) == 1
    assert "EX_1_SL_2" in flat.faults[0]
    open_trade = balance(START, [], START, left, trade_open=True)
    assert open_trade.faults == []
    assert "still open" in as_text(open_trade)


def test_the_text_names_what_does_not_add_up() -> None:
    text = as_text(balance(START, [], {**START, "LTC": Decimal("50.00000001")}, []))
    assert "LTC: 0.00000001 more than its fills explain" in text
    assert "add up" not in text


@pytest.mark.parametrize("layout", Layout)
def test_the_bundled_recording_adds_up_by_the_engines_own_fills(layout: Layout) -> None:
    walk = Walk(Policy(notional=Decimal(100), allow_short=True, layout=layout))
    for _ in walk.steps():
        pass
    books = close_books(walk.engine, ACCOUNT, START)
    assert books.fills > 20
    assert books.faults == []
    assert "add up over all fills" in as_text(books)
