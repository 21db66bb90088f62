"""The day's summary of several accounts: each that traded once, the others in one message, never twice."""

from typing import Any

from tests.ops.alerts.test_daily import DAY, Clock, loop_of, trade

from executor.ops.alerts.alerts import Alerts
from executor.ops.alerts.daily import AFTER_MS, DAY_MS
from executor.ops.alerts.daily_accounts import AccountsDaily

NOON = DAY * DAY_MS + DAY_MS // 2
NEXT = (DAY + 1) * DAY_MS + AFTER_MS


class Bench:
    def __init__(self, *, forget: bool = False) -> None:
        self.alerts = Alerts(None, [])
        self.now = NOON
        self.loops: dict[str, Any] = {}
        self.daily = AccountsDaily(self.alerts, lambda: self.loops, lambda: self.now, forget=forget)

    def account(self, name: str, *trades: Any, **state: Any) -> None:
        self.loops[name] = {"LTCUSDT": loop_of(Clock(self.now), *trades, **state)}

    def told(self) -> list[tuple[str, str]]:
        found = [(alert.account, alert.text) for alert in self.alerts.recent]
        self.alerts.recent.clear()
        return found


def test_each_that_traded_is_told_of_and_the_others_together() -> None:
    bench = Bench()
    bench.account("alice", trade(3, "1.5"))
    bench.account("bob")
    bench.account("carol", halted="why")
    bench.account("dora")
    bench.daily.look()
    assert bench.told() == []  # they have just begun
    bench.now = NEXT - 1
    bench.daily.look()
    assert bench.told() == []
    bench.now = NEXT
    bench.daily.look()
    bench.daily.look()
    alice, carol, rest = bench.told()
    assert alice[0] == "alice"
    assert alice[1].startswith("2024-10-04\nLTCUSDT: 1 trades, 1 won, 1.5 USDT")
    assert carol == ("carol", "2024-10-04\nLTCUSDT: entries are halted: why\nno trade")
    assert rest == ("", "2024-10-04\n2 accounts without a trade: bob, dora")


def test_one_that_was_away_at_midnight_is_told_of_when_it_is_back() -> None:
    bench = Bench()
    bench.account("alice", trade(3, "1.5"))
    bench.daily.look()
    kept = bench.loops.pop("alice")
    bench.now = NEXT
    bench.daily.look()
    assert bench.told() == []
    bench.loops["alice"] = kept
    bench.daily.look()
    assert [account for account, _ in bench.told()] == ["alice"]


def test_in_a_fleet_whoever_has_it_at_midnight_tells_and_nobody_else() -> None:
    bench = Bench(forget=True)
    bench.account("alice", trade(3, "1.5"))
    bench.daily.look()
    kept = bench.loops.pop("alice")
    bench.daily.look()  # another node has it, and will have told of the day
    bench.now = NEXT
    bench.loops["alice"] = kept
    bench.daily.look()
    assert bench.told() == []
