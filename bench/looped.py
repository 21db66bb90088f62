"""What a looped recording costs over time: `make bench-loop MINUTES=60`.

The service as it runs, on the bundled recording at speed 150, which then begins anew about every two and a half
minutes. Memory, open files, threads and file sizes should be flat once the first rounds are over; the trades go on.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

PAGE: Final = os.sysconf("SC_PAGE_SIZE")
MIB: Final = 1024 * 1024
LAST: Final = 20.0


class Sample(NamedTuple):
    """`minute` since the start; memory in bytes, the journal's files together in bytes."""

    minute: float
    resident: int
    files: int
    threads: int
    journal: int
    trades: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--every", type=float, default=60, help="seconds between two looks")
    parser.add_argument("--speed", type=float, default=150)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="executor-loop-") as name:
        samples = measure(Path(name), wanted.minutes, wanted.every, wanted.speed)
    half = [sample for sample in samples if sample.minute >= wanted.minutes / 2]
    if half:
        grown = (half[-1].resident - half[0].resident) / MIB
        sys.stdout.write(f"second half: {grown:+.1f} MiB, {half[-1].files - half[0].files:+d} open files\n")


def measure(folder: Path, minutes: float, every: float, speed: float) -> list[Sample]:
    environ = {
        **{each: os.environ[each] for each in ("PATH", "PYTHONPATH", "LANG", "TMPDIR") if each in os.environ},
        "PAPER_AT_END": "loop",
        "PAPER_SPEED": str(speed),
        "PAPER_BALANCES": "USDT=10000,LTC=100",
        "ALLOW_SHORT": "true",
        "HTTP_PORT": "0",
        "STATE_FN": str(folder / "state.json"),
        "SIGNAL_FILE": str(folder / "signals.jsonl"),
        "LOG_FORMAT": "json",
    }
    samples: list[Sample] = []
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "executor", "run"], env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        began = time.monotonic()
        try:
            while (gone := time.monotonic() - began) < minutes * 60 and process.poll() is None:
                time.sleep(min(every, max(minutes * 60 - gone, 0.1)))
                samples.append(look(process.pid, folder, (time.monotonic() - began) / 60))
                sys.stdout.write(shown(samples[-1]))
                sys.stdout.flush()
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(LAST)
    if code:
        sys.exit(f"the service ended with {code}")
    return samples


def look(pid: int, folder: Path, minute: float) -> Sample:
    proc = Path(f"/proc/{pid}")
    resident = int(proc.joinpath("statm").read_text().split()[1]) * PAGE
    journals = sum(path.stat().st_size for path in folder.glob("state.journal.jsonl*"))
    trades = folder / "state.trades.jsonl"
    return Sample(
        minute,
        resident,
        len(list(proc.joinpath("fd").iterdir())),
        len(list(proc.joinpath("task").iterdir())),
        journals,
        trades.read_bytes().count(b"\n") if trades.exists() else 0,
    )


def shown(sample: Sample) -> str:
    return (
        f"{sample.minute:6.1f} min  RSS {sample.resident / MIB:6.1f} MiB  {sample.files:3d} files  "
        f"{sample.threads:2d} threads  journal {sample.journal / MIB:6.1f} MiB  {sample.trades:5d} trades\n"
    )


if __name__ == "__main__":
    main()
