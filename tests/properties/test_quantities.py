"""Quantities and names hold for any grid, size and weight."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.core.build import POLICY, RULES, make_signal

from executor.core.book.plan import make_plan, split, split_units
from executor.core.model.ids import ClientId, Role, client_id, parse
from executor.core.model.values import ceil_to, floor_to, on_grid, units

D = Decimal
grids = st.sampled_from([D("0.00000001"), D("0.001"), D("0.01"), D("0.05"), D(1), D(25)])
amounts = st.decimals(min_value=0, max_value=10_000, places=8)
weights = st.tuples(st.integers(1, 9).map(D), st.integers(0, 9).map(D), st.integers(0, 9).map(D))


@given(amounts, grids)
def test_rounding_is_whole_and_off_by_less_than_one(value: Decimal, grid: Decimal) -> None:
    low, high = floor_to(value, grid), ceil_to(value, grid)
    assert on_grid(low, grid)
    assert on_grid(high, grid)
    assert low <= value <= high
    assert high - low in (0, grid)
    assert units(value, grid) * grid == low


@given(st.integers(0, 1_000_000), weights)
def test_a_split_adds_up_in_whole_steps_and_no_leg_without_weight_gets_any(
    n: int, w: tuple[Decimal, Decimal, Decimal]
) -> None:
    """Rule 2.4."""
    shares = split_units(n, w)
    assert sum(shares) == n
    last = max(i for i, weight in enumerate(w) if weight)
    for i, (share, weight) in enumerate(zip(shares, w, strict=True)):
        assert share >= 0
        assert share == 0 or weight > 0
        if i < last:
            assert 0 <= n * weight / sum(w) - share < 1


@given(amounts, grids, weights, st.decimals(min_value=0, max_value=50, places=2))
def test_a_split_of_a_holding_is_all_of_it_or_nothing_and_every_leg_passes_the_filters(
    qty: Decimal, step: Decimal, w: tuple[Decimal, Decimal, Decimal], min_notional: Decimal
) -> None:
    """Rule 2.4."""
    rules = replace(RULES, step=step, min_qty=step, max_qty=D(0), min_notional=min_notional)
    policy = replace(POLICY, split=w)
    plan = make_plan(make_signal(), replace(POLICY, qty=D(1_000)), replace(rules, min_notional=D(0)), None)
    sizes = split(qty, plan, policy, rules)
    if sizes is None:
        assert not rules.carries(rules.whole(qty), D("97.90"))
        return
    assert sum(sizes) == rules.whole(qty)
    assert all(size == 0 or rules.carries(size, D("97.90")) for size in sizes)


@given(st.integers(0, 10**13 - 1), st.sampled_from(list(Role)), st.integers(0, 999_999))
def test_ids_round_trip(trade: int, role: Role, rev: int) -> None:
    """Rule 1."""
    text = client_id(str(trade), role, rev)
    assert parse(text) == ClientId(str(trade), role, rev)
    assert len(text) <= 36


@given(st.text(max_size=40))
def test_what_is_read_as_an_id_is_one(text: str) -> None:
    name = parse(text)
    assert name is None or str(ClientId(name.trade, name.role, name.rev)).rpartition("_")[0] == text.rpartition("_")[0]
