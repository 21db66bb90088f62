from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.ops.samples import contradictory, rules

from executor.config import Settings, load_settings
from executor.core.model.facts import Balance, Kline, Quote
from executor.core.model.policy import Layout, Policy, TrailMode
from executor.core.model.state import SCHEMA_VERSION
from executor.core.model.values import OrderType
from executor.core.transition import empty
from executor.exchange.permissions import KeyPermissions
from executor.ops import doctor, doctor_exchange
from executor.ops.doctor import Files, Finding, Level
from executor.service.store.document import document_of
from executor.service.store.state_store import StateStore

QUOTE = Quote(1, Decimal("80.00"), Decimal("80.01"), Decimal("80.00"))
BARS = (Kline(0, Decimal(81), Decimal(79), Decimal(80)),)
RICH = {"USDT": Balance(Decimal(10_000)), "LTC": Balance(Decimal(50))}


def settings(folder: Path) -> Settings:
    return load_settings({"STATE_FN": str(folder / "s.json"), "SIGNAL_FILE": str(folder / "signals.jsonl")}, None)


def levels(findings: list[Finding]) -> dict[str, Level]:
    return {each.name: each.level for each in findings}


def here(folder: Path) -> list[Finding]:
    return doctor.on_this_machine(settings(folder), {"LTCUSDT": Files(folder / "s.json", "LTCUSDT")})


class TestThisMachine:
    def test_a_first_start(self, tmp_path: Path) -> None:
        folder = tmp_path / "new" / "folder"
        assert set(levels(here(folder)).values()) == {Level.OK, Level.WARN}
        assert levels(here(folder))["signal file"] is Level.WARN
        assert not folder.exists(), "the doctor changes nothing"

    def test_all_is_well(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o700)
        StateStore(tmp_path / "s.json", schema_version=SCHEMA_VERSION).save(document_of(empty("LTCUSDT")))
        (tmp_path / "signals.jsonl").touch()
        before = sorted(tmp_path.iterdir())
        assert set(levels(here(tmp_path)).values()) == {Level.OK}
        assert sorted(tmp_path.iterdir()) == before

    def test_what_others_may_read(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o755)
        StateStore(tmp_path / "s.json", schema_version=SCHEMA_VERSION).save(document_of(empty("LTCUSDT")))
        (tmp_path / "s.json").chmod(0o644)
        found = levels(here(tmp_path))
        assert (found["state folder"], found["state file"]) == (Level.WARN, Level.WARN)

    def test_a_damaged_state(self, tmp_path: Path) -> None:
        (tmp_path / "s.json").write_text("nonsense", encoding="utf-8")
        assert levels(here(tmp_path))["state file"] is Level.FAIL

    def test_a_damaged_state_with_its_predecessor(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o700)
        store = StateStore(tmp_path / "s.json", schema_version=SCHEMA_VERSION)
        store.save(document_of(empty("LTCUSDT")))
        store.save(document_of(replace(empty("LTCUSDT"), paused=True)))
        (tmp_path / "s.json").write_text("nonsense", encoding="utf-8")
        assert levels(here(tmp_path))["state file"] is Level.WARN

    def test_a_state_that_contradicts_itself_is_damaged(self, tmp_path: Path) -> None:
        """As a start sees it: the state before it is used."""
        tmp_path.chmod(0o700)
        contradictory(tmp_path / "s.json")
        (finding,) = [each for each in here(tmp_path) if each.name == "state file"]
        assert (finding.level, "contradicts itself" in finding.text) == (Level.WARN, True)

    def test_several_symbols(self, tmp_path: Path) -> None:
        """What is the machine's is told once; a folder of its own is a folder more."""
        states = {"LTCUSDT": tmp_path / "LTCUSDT.json", "BTCUSDT": tmp_path / "b" / "BTCUSDT.json"}
        StateStore(states["LTCUSDT"], schema_version=SCHEMA_VERSION).save(document_of(empty("BTCUSDT")))
        findings = doctor.on_this_machine(
            settings(tmp_path), {name: Files(path, name) for name, path in states.items()}
        )
        names = [each.name for each in findings]
        assert [names.count(name) for name in ("signal file", "state folder", "disk space")] == [1, 2, 2]
        found = levels(findings)
        assert (found["LTCUSDT state file"], found["BTCUSDT state file"]) == (Level.FAIL, Level.OK)
        assert {"LTCUSDT service", "BTCUSDT service"} < set(names)

    def test_a_state_of_another_symbol(self, tmp_path: Path) -> None:
        StateStore(tmp_path / "s.json", schema_version=SCHEMA_VERSION).save(document_of(empty("BTCUSDT")))
        assert levels(here(tmp_path))["state file"] is Level.FAIL

    @pytest.mark.parametrize("change", [{"paused": True}, {"halted": "10.1: what"}])
    def test_entries_that_are_held_back(self, tmp_path: Path, change: dict[str, object]) -> None:
        state = replace(empty("LTCUSDT"), **change)
        StateStore(tmp_path / "s.json", schema_version=SCHEMA_VERSION).save(document_of(state))
        assert levels(here(tmp_path))["entries"] is Level.WARN

    def test_disk_and_sync(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor, "DISK_FAIL", 2**63)
        assert levels(here(tmp_path))["disk space"] is Level.FAIL
        monkeypatch.setattr(doctor, "DISK_FAIL", 0)
        monkeypatch.setattr(doctor, "DISK_WARN", 2**63)
        assert levels(here(tmp_path))["disk space"] is Level.WARN
        monkeypatch.setattr(doctor, "SYNC_WARN_MS", 0)
        assert levels(here(tmp_path))["disk sync"] is Level.WARN
        monkeypatch.setattr(doctor, "SYNC_FAIL_MS", 0)
        assert levels(here(tmp_path))["disk sync"] is Level.FAIL

    def test_each_thing_to_do_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "s.json").write_text("nonsense", encoding="utf-8")
        findings = here(tmp_path)
        text = doctor.as_text(findings)
        for each in findings:
            assert each.text in text
            assert bool(each.advice) == (each.level is not Level.OK)
            assert each.advice in text
        assert "1 failures" in text


def about_symbol(policy: Policy, **changes: object) -> list[Finding]:
    return list(doctor_exchange._symbol(policy, replace(rules(), **changes)))


def sizes(policy: Policy, balances: dict[str, Balance] = RICH) -> list[Finding]:
    return list(doctor_exchange._sizes(policy, rules(), QUOTE, balances, BARS, 1))


class TestExchange:
    def test_a_key_as_it_should_be(self) -> None:
        (finding,) = doctor_exchange.about_key(KeyPermissions(ip_restrict=True, withdrawals=False, spot=True))
        assert finding.level is Level.OK

    @pytest.mark.parametrize(
        ("key", "level", "said"),
        [
            (KeyPermissions(ip_restrict=True, withdrawals=True, spot=True), Level.FAIL, "WITHDRAW"),
            (KeyPermissions(ip_restrict=False, withdrawals=False, spot=True), Level.WARN, "any address"),
            (KeyPermissions(ip_restrict=True, withdrawals=False, spot=False), Level.FAIL, "not trade"),
        ],
    )
    def test_a_key_that_may_too_much_or_too_little(self, key: KeyPermissions, level: Level, said: str) -> None:
        (finding,) = doctor_exchange.about_key(key)
        assert (finding.level, said in finding.text) == (level, True)

    def test_the_symbol_carries_what_is_needed(self) -> None:
        assert [each.level for each in about_symbol(Policy())] == [Level.OK]

    @pytest.mark.parametrize(
        ("policy", "changes", "level"),
        [
            (Policy(), {"tradable": False}, Level.FAIL),
            (Policy(), {"order_types": (OrderType.LIMIT, OrderType.MARKET)}, Level.FAIL),
            (Policy(), {"oco_allowed": False}, Level.FAIL),
            (Policy(layout=Layout.BRACKET), {"opo_allowed": False}, Level.WARN),
            (Policy(), {"max_algo_orders": 2}, Level.FAIL),
            (Policy(), {"max_algo_orders": 3}, Level.WARN),
            (Policy(layout=Layout.PLAIN), {"max_algo_orders": 1}, Level.WARN),
            (Policy(split=(Decimal(1), Decimal(0), Decimal(0))), {"max_algo_orders": 1}, Level.WARN),
            (Policy(trail_mode=TrailMode.NATIVE), {"trailing_allowed": False}, Level.FAIL),
            (Policy(), {"cancel_replace_allowed": False}, Level.WARN),
        ],
    )
    def test_a_symbol_that_does_not(self, policy: Policy, changes: dict[str, object], level: Level) -> None:
        found = about_symbol(policy, **changes)
        assert sorted(each.level for each in found) == sorted([level, Level.OK])

    @pytest.mark.parametrize(("layout", "most"), [(Layout.OCO, 4), (Layout.PLAIN, 2), (Layout.OCO, 0)])
    def test_a_symbol_with_stops_to_spare(self, layout: Layout, most: int) -> None:
        assert [each.level for each in about_symbol(Policy(layout=layout), max_algo_orders=most)] == [Level.OK]

    def test_sizes_and_balances_for_both_sides(self) -> None:
        long, short = sizes(Policy(notional=Decimal(100), allow_short=True))
        assert (long.name, long.level, short.name, short.level) == ("a long", Level.OK, "a short", Level.OK)
        assert "in 3 legs of 0.416, 0.416, 0.416" in long.text

    def test_a_size_that_makes_fewer_legs(self) -> None:
        (long,) = sizes(Policy(notional=Decimal(12)))
        assert (long.level, "2 legs" in long.text) == (Level.WARN, True)

    def test_a_size_that_is_too_small(self) -> None:
        (long,) = sizes(Policy(notional=Decimal(4)))
        assert (long.level, "breaks the filters" in long.text) == (Level.FAIL, True)

    def test_plain_without_spare_inventory(self) -> None:
        poor = {"USDT": Balance(Decimal(10_000))}
        (long,) = sizes(Policy(notional=Decimal(100), layout=Layout.PLAIN), poor)
        assert long.level is Level.FAIL
        assert "0.832 LTC missing" in long.text
        assert long.advice

    def test_an_empty_account(self) -> None:
        (long,) = sizes(Policy(notional=Decimal(100)), {})
        assert (long.level, "USDT missing" in long.text) == (Level.FAIL, True)
