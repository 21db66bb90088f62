"""The engine over whole trades: the state on disk is the state in memory, and the journal gives every state again."""

from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from executor.core.guard import advance
from executor.core.model.events import (
    Answered,
    AnyEvent,
    Commanded,
    OpenOrdersSeen,
    QuoteSeen,
    Reported,
    SignalSeen,
    Started,
    Tick,
    Verb,
)
from executor.core.model.facts import Done
from executor.core.model.intents import Level
from executor.core.model.loans import Loan, LoanKind, OwnDebt, Repayment
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.signal import Signal
from executor.core.model.state import SCHEMA_VERSION, Closed, OrderPhase, Reason, State
from executor.core.model.values import Direction, OrderStatus
from executor.core.transition import empty
from executor.files import RealFileSystem
from executor.paper.engine.exchange import Engine as PaperEngine
from executor.paper.engine.model import ExecutionReport
from executor.paper.engine.symbol import Symbol
from executor.paper.replay.recording import bundled_exchange_info
from executor.service.engine import Engine
from executor.service.store.document import Document, Inconsistent, differs, document_of, state_of
from executor.service.store.journal import Journal, JournalReader
from executor.service.store.records import Began, Record, Took
from executor.service.store.state_store import StateStore, StateUnwritable, seal
from executor.service.store.trades import TradeList, read_trades
from executor.simulate.direct import Direct, pushed

SYMBOL = "LTCUSDT"
T0 = 1_750_000_000_000
RULES = SymbolRules(
    symbol=SYMBOL,
    base="LTC",
    quote="USDT",
    tick=Decimal("0.01"),
    step=Decimal("0.001"),
    min_qty=Decimal("0.001"),
    min_notional=Decimal(5),
    taker_fee=Decimal("0.001"),
    maker_fee=Decimal("0.001"),
)


class FailingDisk(RealFileSystem):
    """A disk that is full while `full` is set."""

    full = False

    def write_synced(self, path: Path, data: bytes) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().write_synced(path, data)

    def overwrite(self, path: Path, offset: int, data: bytes, *, synced: bool) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().overwrite(path, offset, data, synced=synced)


class Place:
    """A trading engine on a paper one, with its files in one folder."""

    def __init__(self, folder: Path, state: State | None = None, disk: FailingDisk | None = None) -> None:
        row = next(r for r in bundled_exchange_info()["symbols"] if r["symbol"] == SYMBOL)
        self.paper = PaperEngine([Symbol.from_exchange_info(row)])
        self.paper.open_account("a", {"USDT": Decimal(10_000)})
        self.direct = Direct(self.paper, "a", SYMBOL)
        self.now = T0
        self.trade_id = 0
        self.disk = disk or FailingDisk()
        self.store = StateStore(folder / "state.json", schema_version=SCHEMA_VERSION, fs=self.disk)
        self.journal_path = folder / "journal.jsonl"
        self.journal = Journal(self.journal_path)
        self.closed: list[Closed] = []
        self.policy = Policy(notional=Decimal(100))
        self.engine = Engine(state or empty(SYMBOL), self.policy, RULES, self.store, self.journal, self.closed.append)

    def take(self, event: AnyEvent) -> None:
        inbox = deque([event])
        while inbox:
            step = self.engine.take(inbox.popleft())
            self.check_disk()
            inbox.extend(self.direct.perform(request, self.now) for request in step.requests)
            inbox.extend(self.heard())

    def heard(self) -> Iterator[AnyEvent]:
        for event in self.paper.drain_events("a"):
            if isinstance(event, ExecutionReport):
                yield Reported(at=self.now, report=pushed(event))

    def price(self, price: str, *, seconds: int = 1) -> None:
        self.now += seconds * 1000
        self.trade_id += 1
        self.paper.on_trade(SYMBOL, self.trade_id, Decimal(price), Decimal(1000), True, self.now)
        for event in list(self.heard()):
            self.take(event)
        self.take(QuoteSeen(at=self.now, quote=self.direct.quote(self.now)))

    def signal(self, price: str, stop: str) -> None:
        self.take(self.seen(price, stop))

    def seen(self, price: str, stop: str) -> SignalSeen:
        signal = Signal(
            key=f"s{self.now}", at=self.now, direction=Direction.LONG, price=Decimal(price), stop=Decimal(stop)
        )
        quote, balances = self.direct.quote(self.now), self.direct.balances()
        return SignalSeen(at=self.now, signal=signal, quote=quote, balances=balances, klines=None)

    def check_disk(self) -> None:
        if not differs(empty(SYMBOL), self.engine.state):
            return
        loaded = self.store.load(Document)
        assert loaded is not None
        assert loaded.source == "current"
        assert not differs(state_of(loaded.value), self.engine.state)

    def win(self) -> None:
        """One whole trade: in, both targets, the trail."""
        self.price("80.00")
        self.signal("80.00", "79.00")
        for price in ("79.90", "80.50", "81.20", "82.30", "82.90", "81.90", "81.85"):
            self.price(price)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def records(path: Path) -> Iterator[Began | Took]:
    kind: Any = Record
    for entry in JournalReader(path, kind):
        yield entry.record


def replayed(path: Path) -> list[str]:
    """Every checksum of the journal, made anew from its events; raises at the first that differs."""
    state: State | None = None
    policy, rules = Policy(), RULES
    sums = []
    for record in records(path):
        if isinstance(record, Began):
            state, policy, rules = record.state, record.policy, record.rules
            continue
        assert state is not None
        state = advance(state, record.event, policy, rules).state
        if record.sum:
            made = seal(document_of(state), SCHEMA_VERSION)
            assert record.sum in made.decode()[:200]
            sums.append(record.sum)
    return sums


def test_the_state_on_disk_is_the_state_in_memory_after_every_event_of_a_trade(place: Place) -> None:
    place.win()  # `take` compares after each event
    assert [c.reason for c in place.closed] == [Reason.TRAIL]
    assert place.direct.open_orders() == ()


def test_the_file_shows_a_person_the_open_trade_at_its_top(place: Place) -> None:
    place.price("80.00")
    place.signal("80.00", "79.00")
    place.price("79.90")
    loaded = place.store.load(Document)
    assert loaded is not None
    orders = loaded.value.orders
    assert orders is not None
    assert [o.status for o in orders.entry] == ["FILLED"]
    assert len(orders.tp1) == len(orders.tp2) == 1
    assert len(orders.sl) == 3
    assert (orders.qty1, orders.qty2, orders.qty3) == (Decimal("0.416"), Decimal("0.416"), Decimal("0.416"))
    text = place.store.path.read_text()
    assert '"0.416"' in text
    assert "E-" not in text


def test_the_file_holds_all_of_the_state_but_the_facts_of_the_moment() -> None:
    assert set(Document.__struct_fields__) - {"orders"} == set(State.__struct_fields__) - {"market"}


def test_a_loan_and_a_debt_are_there_again_after_a_restart() -> None:
    loan = Loan(n=1, kind=LoanKind.BORROW, asset="USDT", amount=Decimal(5), sent_at=1)
    owed = OwnDebt(asset="USDT", own=Decimal(5))
    state = replace(empty("LTCUSDT", "paper"), loan=loan, debts=(owed,), repaying=Repayment(since=1))
    found = state_of(document_of(state))
    assert (found.loan, found.debts, found.repaying) == (state.loan, state.debts, state.repaying)


def test_a_file_whose_halves_disagree_is_not_believed(place: Place) -> None:
    place.price("80.00")
    place.signal("80.00", "79.00")
    place.price("79.90")
    document = document_of(place.engine.state)
    assert document.orders is not None
    with pytest.raises(Inconsistent):
        state_of(replace(document, orders=replace(document.orders, qty1=Decimal(1))))
    with pytest.raises(Inconsistent):
        state_of(replace(document, position=None))


def test_the_journal_gives_every_state_again(place: Place) -> None:
    place.win()
    assert len(replayed(place.journal_path)) > 15


def test_events_that_change_nothing_are_not_in_the_journal(place: Place) -> None:
    place.price("80.00")
    before = place.journal.last
    for _ in range(5):
        place.now += 1000
        place.take(Tick(at=place.now))
        place.take(OpenOrdersSeen(at=place.now, reports=(), asked_at=place.now))
    assert place.journal.last == before
    place.win()
    replayed(place.journal_path)


def test_an_event_older_than_the_last_one_is_taken_at_the_time_of_the_last_one(place: Place) -> None:
    place.win()
    place.take(Tick(at=T0 - 60_000))
    place.take(QuoteSeen(at=T0 - 60_000, quote=place.direct.quote(place.now + 1)))
    assert place.engine.state.market.now == place.now
    replayed(place.journal_path)


def test_after_the_clock_was_set_back_far_the_trade_goes_on_by_the_new_time(place: Place) -> None:
    place.price("80.00")
    place.signal("80.00", "79.00")
    now = place.engine.state.market.now - 60_000
    place.engine.commit(Commanded(at=now, verb=Verb.PAUSE), now=now)
    place.engine.write_down()
    assert place.engine.state.market.now == now
    assert replayed(place.journal_path)
    assert list(records(place.journal_path))[-1].event.at == now  # type: ignore[union-attr]


def test_a_full_disk_changes_nothing_and_the_event_can_be_taken_again(place: Place) -> None:
    place.price("80.00")
    before = place.engine.state
    signal = Signal(key="x", at=place.now, direction=Direction.LONG, price=Decimal(80), stop=Decimal(79))
    quote, balances = place.direct.quote(place.now), place.direct.balances()
    event = SignalSeen(at=place.now, signal=signal, quote=quote, balances=balances, klines=None)
    place.disk.full = True
    with pytest.raises(StateUnwritable):
        place.engine.take(event)
    assert place.engine.state is before
    place.disk.full = False
    step = place.engine.take(event)
    assert len(step.requests) == 1
    assert place.engine.state.position is not None


def test_a_restart_goes_on_from_the_file_and_begins_a_new_part_of_the_journal(place: Place, tmp_path: Path) -> None:
    place.price("80.00")
    place.signal("80.00", "79.00")
    place.price("79.90")
    loaded = place.store.load(Document)
    assert loaded is not None
    again = Place(tmp_path, state_of(loaded.value))
    again.paper, again.direct, again.now, again.trade_id = place.paper, place.direct, place.now, place.trade_id
    again.take(Started(at=again.now, fence=again.now + 5000))
    assert again.engine.state.started == 0
    assert len(again.direct.open_orders()) == 5
    again.take(Commanded(at=again.now, verb=Verb.FLATTEN))
    assert [c.reason for c in again.closed] == [Reason.FLATTEN]
    assert again.direct.open_orders() == ()
    replayed(place.journal_path)
    assert [r.why for r in records(place.journal_path) if isinstance(r, Began)] == ["start", "start"]


def test_changed_rules_are_in_the_journal(place: Place) -> None:
    place.price("80.00")
    place.engine.change_rules(replace(RULES, min_notional=Decimal(10)))
    place.win()
    replayed(place.journal_path)
    assert [r.why for r in records(place.journal_path) if isinstance(r, Began)] == ["start", "rules changed"]


def test_an_interrupted_journal_goes_on_while_an_entry_rests(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its base holds how far the price may move before there is anything to decide: however high, for an entry."""
    place.price("80.00")
    place.signal("80.00", "79.00")
    place.price("80.20", seconds=3)
    assert place.engine.state.market.quiet is not None
    with monkeypatch.context() as patch, capture_logs() as log:
        patch.setattr(Journal, "_write", _full)
        for _ in range(3):
            place.take(Commanded(at=place.now, verb=Verb.PAUSE))
            place.take(Commanded(at=place.now, verb=Verb.RESUME))
        assert [line["event"] for line in log] == ["journal_interrupted"]
    place.price("80.30")
    place.engine.change_rules(replace(RULES, max_qty=Decimal(50)))
    for price in ("79.90", "80.50", "81.20", "82.30", "82.90", "81.90", "81.85"):
        place.price(price)
    assert [c.reason for c in place.closed] == [Reason.TRAIL]
    replayed(place.journal_path)


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_an_answer_that_can_not_be_written_down_counts_as_unknown_and_the_trade_goes_on(place: Place) -> None:
    place.price("80.00")
    step = place.engine.take(place.seen("80.00", "79.00"))
    (request,) = step.requests
    answered = place.direct.perform(request, place.now)
    assert isinstance(answered, Answered)
    assert isinstance(answered.outcome, Done)
    (told,) = answered.outcome.reports
    absurd = replace(told, status=OrderStatus.PARTIALLY_FILLED, cum_qty=Decimal("0.5"), cum_quote=Decimal("1E+5000"))
    step = place.engine.take(replace(answered, outcome=Done((absurd,))))
    assert [note.event for note in step.notes if note.level is Level.ALERT] == ["event_unwritable"]
    place.check_disk()
    assert place.engine.state.halted
    for due in (place.direct.perform(request, place.now) for request in step.requests):
        place.take(due)
    position = place.engine.state.position
    assert position is not None
    assert [order.phase for order in position.orders] == [OrderPhase.WORKING]
    place.price("79.90")
    assert len(place.direct.open_orders()) == 5


def test_a_push_that_can_not_be_written_down_is_passed_over(place: Place) -> None:
    place.price("80.00")
    place.signal("80.00", "79.00")
    (order,) = place.direct.open_orders()
    absurd = replace(order, status=OrderStatus.PARTIALLY_FILLED, cum_qty=Decimal("0.5"), cum_quote=Decimal("NaN"))
    step = place.engine.take(Reported(at=place.now, report=absurd))
    assert [note.event for note in step.notes] == ["event_unwritable"]
    assert place.engine.state.halted
    place.check_disk()
    place.price("79.90")
    assert len(place.direct.open_orders()) == 5
    replayed(place.journal_path)


def break_the_first_step_of_a_trade(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a defect of ours would."""

    def violations(before: State, after: State, *_: object) -> list[str]:
        return ["10: broken"] if before.position is None and after.position is not None else []

    monkeypatch.setattr("executor.core.guard.violations", violations)


def halted(place: Place) -> str:
    return place.engine.state.halted


def told_by(place: Place) -> list[str]:
    told: list[str] = []
    place.engine.on_decided.append(lambda _before, _event, step: told.extend(note.event for note in step.notes))
    return told


def test_a_broken_invariant_holds_back_no_request_and_its_halt_is_told_on_disk_and_in_the_journal(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_the_first_step_of_a_trade(monkeypatch)
    place.price("80.00")
    told = told_by(place)
    step = place.engine.commit(place.seen("80.00", "79.00"))
    assert len(step.requests) == 1
    assert not halted(place)
    proven = place.engine.proven(step)
    assert (proven.requests, proven.state.halted) == (step.requests, "10: broken")
    assert proven.notes[-1].event == told[-1] == "invariant_broken"
    assert told.count("trade_opened") == 1
    assert place.engine.proven(proven) is proven
    place.engine.publish()
    place.check_disk()
    assert halted(place) == "10: broken"
    place.take(place.direct.perform(step.requests[0], place.now))
    replayed(place.journal_path)


def test_only_what_the_store_was_given_is_still_to_be_shown(place: Place) -> None:
    place.price("80.00")
    seen = [place.engine.unpublished]
    place.engine.proven(place.engine.commit(place.seen("80.00", "79.00")))
    seen.append(place.engine.unpublished)
    place.engine.publish()
    place.engine.proven(place.engine.commit(Tick(at=place.now)))
    place.engine.write_down()
    seen.append(place.engine.unpublished)
    assert seen == [False, True, False]


def test_a_halt_by_a_broken_invariant_is_still_to_be_shown(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    break_the_first_step_of_a_trade(monkeypatch)
    place.price("80.00")
    step = place.engine.commit(place.seen("80.00", "79.00"))
    place.engine.publish()
    place.engine.proven(step)
    assert place.engine.unpublished


def test_a_broken_invariant_that_nobody_asked_for_is_told_before_the_next_event(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_the_first_step_of_a_trade(monkeypatch)
    place.price("80.00")
    told = told_by(place)
    place.engine.commit(place.seen("80.00", "79.00"))
    place.take(Tick(at=place.now))
    assert told == ["trade_opened", "invariant_broken"]
    assert halted(place) == "10: broken"
    replayed(place.journal_path)


def test_a_halt_that_finds_the_disk_full_is_written_with_the_next_step(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_the_first_step_of_a_trade(monkeypatch)
    place.price("80.00")
    step = place.engine.commit(place.seen("80.00", "79.00"))
    place.disk.full = True
    with capture_logs() as log:
        assert place.engine.proven(step).state.halted == "10: broken"
    assert [line["event"] for line in log] == ["state_unwritable"]
    place.disk.full = False
    place.take(Tick(at=place.now))
    assert halted(place) == "10: broken"
    replayed(place.journal_path)


def test_each_trade_is_listed_once(tmp_path: Path, place: Place) -> None:
    path = tmp_path / "trades.jsonl"
    place.win()
    closed = place.closed[0]
    with_list = TradeList(path)
    with_list.add(closed)
    with_list.add(closed)
    with_list.close()
    again = TradeList(path)
    again.add(closed)
    again.add(replace(closed, trade="2"))
    again.close()
    assert [c.trade for c in read_trades(path)] == [closed.trade, "2"]


def test_the_last_trade_of_an_older_state_is_not_listed_again(tmp_path: Path, place: Place) -> None:
    place.win()
    closed = place.closed[0]
    path = tmp_path / "trades.jsonl"
    for trade in ("1", "2", "3", "1"):
        listed = TradeList(path)
        listed.add(replace(closed, trade=trade))
        listed.close()
    assert [c.trade for c in read_trades(path)] == ["1", "2", "3"]


def test_what_stands_before_the_damage_of_a_list_is_known_once(tmp_path: Path, place: Place) -> None:
    place.win()
    closed = place.closed[0]
    path = tmp_path / "trades.jsonl"
    listed = TradeList(path)
    for trade in ("1", "2", "3"):
        listed.add(replace(closed, trade=trade))
    listed.close()
    path.rename(tmp_path / "trades.jsonl.1")
    path.write_bytes(b"{}\n")
    assert [c.trade for c in TradeList(path).recent] == ["1", "2", "3"]


def test_no_list_is_an_empty_list(tmp_path: Path) -> None:
    assert list(read_trades(tmp_path / "none.jsonl")) == []
