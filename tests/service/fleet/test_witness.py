"""What a node remembers of the store: a copy that was put back shows."""

import asyncio
from pathlib import Path

import pytest
import structlog

from executor.service.fleet.witness import Witness


async def test_a_store_that_went_back_is_noticed_after_a_restart(tmp_path: Path) -> None:
    first = Witness(tmp_path / "a" / "seen.json", "fleet")
    assert not first.memory.is_newer(0, 1)
    first.saw(0, 100)
    first.saw(0, 90)
    await first.save()
    again = Witness(tmp_path / "a" / "seen.json", "fleet")
    assert again.memory.is_newer(0, 99)
    assert not again.memory.is_newer(0, 101)


async def test_a_generation_that_an_operator_began_counts_anew(tmp_path: Path) -> None:
    witness = Witness(tmp_path / "seen.json", "fleet")
    witness.saw(0, 1_000)
    assert witness.memory.is_newer(0, 5)
    assert not witness.memory.is_newer(7, 5)
    witness.saw(7, 6)
    assert witness.memory.is_newer(7, 5)
    assert witness.memory.is_newer(0, 2_000)


@pytest.mark.parametrize("text", ["", "[]", '{"fleet": "another", "revision": 9}', "\0"])
async def test_what_can_t_be_read_or_is_of_another_fleet_says_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "seen.json"
    path.write_text(text, "utf-8")
    assert not Witness(path, "fleet").memory.is_newer(0, 1)


async def test_a_disk_that_takes_nothing_keeps_nobody_from_going_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    witness = Witness(tmp_path / "file" / "seen.json", "fleet")
    witness.saw(0, 3)
    await witness.save()
    assert witness.memory.is_newer(0, 2)
    nowhere = Witness(None, "fleet")
    nowhere.saw(0, 3)
    await nowhere.save()
    assert nowhere.memory.is_newer(0, 2)


async def test_claims_at_the_same_time_that_are_answered_in_any_order_say_nothing(tmp_path: Path) -> None:
    """The account that was claimed at revision 5 is told of after the one that was claimed at 6."""
    witness = Witness(tmp_path / "seen.json", "fleet")
    witness.saw(0, 4)
    known_to_both = witness.memory
    assert not known_to_both.is_newer(0, 6)
    witness.saw(0, 6)
    assert not known_to_both.is_newer(0, 5)
    assert witness.memory.is_newer(0, 5)


async def test_several_that_write_at_the_same_time_write_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "a" / "seen.json"
    witness = Witness(path, "fleet")
    with structlog.testing.capture_logs() as logs:
        for revision in range(1, 21):
            witness.saw(0, revision)
            await asyncio.gather(*(witness.save() for _ in range(4)))
    assert logs == []
    assert Witness(path, "fleet").memory.revision == 20
