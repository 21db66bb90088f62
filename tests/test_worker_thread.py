"""Work in a thread of its own."""

import asyncio
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from executor.service.inlets.file_threads import FileThreads
from executor.signals.position import SignalFileError
from executor.worker_thread import WorkerThread


async def test_jobs_are_done_one_after_the_other_and_tell_what_became_of_them() -> None:
    thread, done = WorkerThread("jobs"), list[int]()

    def job(number: int) -> int:
        done.append(number)
        if number == 3:
            raise OSError("no")
        return number

    found = await asyncio.gather(*(thread.do(partial(job, n)) for n in range(6)), return_exceptions=True)
    assert done == list(range(6))
    assert [each for each in found if isinstance(each, int)] == [0, 1, 2, 4, 5]
    assert isinstance(found[3], OSError)
    thread.close()


async def test_what_hangs_holds_up_nobody_but_what_stands_behind_it_which_is_left_out_once_nobody_waits() -> None:
    files, go_on, done = FileThreads(), threading.Event(), list[str]()
    hung, other = Path("hung"), Path("other")
    with pytest.raises(SignalFileError, match="hung can't be used: it has not answered for 0 s"):
        await files.do(hung, go_on.wait, 0.05)
    with pytest.raises(SignalFileError):
        await files.do(hung, lambda: done.append("behind it"), 0.05)
    await files.do(other, lambda: done.append("another file's"), 5)
    go_on.set()
    await files.do(hung, lambda: done.append("later"), 5)
    assert done == ["another file's", "later"]
    files.close()


def test_a_process_ends_though_something_hangs() -> None:
    """Asyncio's own threads would be waited for."""
    code = """
import asyncio, threading
from executor.worker_thread import WorkerThread

async def main():
    task = asyncio.ensure_future(WorkerThread("hangs").do(threading.Event().wait))
    await asyncio.wait({task}, timeout=0.1)

asyncio.run(main())
print("over")
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, env=os.environ
    )
    assert (ended.stdout, ended.stderr) == ("over\n", "")
