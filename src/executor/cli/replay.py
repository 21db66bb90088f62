"""`executor replay`: every state of the journal again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from executor.cli import exits
from executor.cli.context import Account, Place, Which, find_places, for_each, read_chosen
from executor.cli.output import examples, fail
from executor.core.model.verdict import Ignored, Moved, Refusal, Verdict
from executor.ops import text
from executor.ops.replay import Replay, Told
from executor.service.store.journal import JournalError

MISMATCHES_SHOWN = 10


@examples(
    "executor replay",
    "executor replay --show | grep -i refused",
    "executor replay --journal n1/LTCUSDT.journal.jsonl --journal n2/LTCUSDT.journal.jsonl",
)
def replay(
    context: typer.Context,
    journal: Annotated[
        list[Path] | None,
        typer.Option(
            "--journal", metavar="FILE", help="Another journal than the settings'; several of a fleet's nodes."
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print each event and what became of it.")] = False,
    symbol: Which = None,
    account: Account = None,
) -> None:
    """Replay the journal, and compare every state.

    Every event goes through the same transition again, and what comes out is compared with what was saved.

    A state that comes out differently is named with file and line, and the exit code is 1. The journal can be read
    while the service writes it. Of several symbols each one's is.

    In a fleet each machine has the journal of what it traded itself: with several --journal of one symbol they are told
    as one, in the order of their owners, and each take-over is compared with what was left.
    """
    if journal:
        _replay(journal, show=show)
        return

    def of_one(place: Place) -> None:
        if not place.alone:
            typer.echo(f"{place.name}:")
        _replay([place.journal], show=show)

    _, code = for_each(find_places(read_chosen(context, account), symbol), of_one)
    if code:
        raise typer.Exit(code)


def _replay(paths: Sequence[Path], *, show: bool) -> None:
    for path in paths:
        if not path.exists():
            fail(f"there is no journal {path}")
    again = Replay(*paths)
    try:
        for told in again:
            if show:
                typer.echo(_line(told))
    except JournalError as error:
        fail(error)
    _sum_up(again)
    if again.mismatches:
        raise typer.Exit(exits.FAILED)


def _line(told: Told) -> str:
    event, step = told.event, told.step
    parts = [f"{told.where} {text.instant(event.at)} {type(event).__name__} {_verdict(step.verdict)}"]
    parts += [f"    -> {type(request).__name__} {request.seq}" for request in step.requests]
    parts += [f"    {note.level} {note.event}: {note.text}" for note in step.notes]
    if told.mismatch is not None:
        parts.append(f"    MISMATCH {told.mismatch.text}")
    return "\n".join(parts)


def _verdict(verdict: Verdict) -> str:
    match verdict:
        case Moved():
            return "moved"
        case Ignored(why):
            return f"ignored: {why}"
        case Refusal(why):
            return f"refused: {why}"


def _sum_up(again: Replay) -> None:
    header = ("segment", "began with", "version", "events", "states", "mismatches")
    rows = [
        (
            each.where,
            f"{each.why} ({each.node}, epoch {each.epoch})" if each.node else each.why,
            each.version,
            str(each.events),
            str(each.states),
            str(each.mismatches),
        )
        for each in again.segments
    ]
    typer.echo(text.columns(header, rows, right=header[3:]))
    for segment in again.segments:
        if segment.break_:
            typer.echo(f"{segment.where}: {segment.break_}")
    if again.skipped:
        typer.echo(f"{again.skipped} events at the beginning stand on a file that was rotated away")
    if again.cut:
        typer.echo(f"unfinished last line: {again.cut}")
    for mismatch in again.mismatches[:MISMATCHES_SHOWN]:
        typer.echo(f"MISMATCH {mismatch.where} {mismatch.event}: {mismatch.text}")
    if len(again.mismatches) > MISMATCHES_SHOWN:
        typer.echo(f"and {len(again.mismatches) - MISMATCHES_SHOWN} more")
    verdict = "all reproduced" if not again.mismatches else f"{len(again.mismatches)} NOT reproduced"
    typer.echo(f"{again.events} events, {again.states} saved states: {verdict}")
