"""Starts daemons that skip the imports: a process that has loaded the program forks one per line of its standard input.

    {"environ": {...}, "log": "/path"}  ->  {"pid": 123}
                                        ->  {"gone": 123, "code": -9}   once it has ended

A daemon born here differs from `python -m executor run` in nothing but the time its imports took. All of them end with
their fork server, and it ends when nobody writes to it any more.
"""

import atexit
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from tests.crash.suspended import arrange

from executor.cli.app import app, load_command


def main() -> None:
    load_command("run")  # imports everything that a run needs
    children: set[int] = set()

    def reap(*_: object) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                children.discard(pid)
                _say({"gone": pid, "code": os.waitstatus_to_exitcode(status)})

    signal.signal(signal.SIGCHLD, reap)
    _say({"ready": os.getpid()})
    while line := sys.stdin.buffer.readline():
        wanted = json.loads(line)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        pid = os.fork()
        if pid == 0:
            _become(wanted["environ"], Path(wanted["log"]))
        children.add(pid)
        _say({"pid": pid})  # before it can be said to be gone
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _say(message: dict[str, int]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def _become(environ: dict[str, str], log: Path) -> None:
    """Be the daemon from here on."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        os.setsid()
        arrange(environ)
        os.environ.clear()
        os.environ.update(environ)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        app(["run"], standalone_mode=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    finally:
        atexit._run_exitfuncs()  # as a process of its own would: the log's last lines are written then
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
