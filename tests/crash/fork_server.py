"""Starts daemons that skip the imports: a process loads the program once, and forks a fork server for each connection
to its socket, `sys.argv[1]`, which has a folder of its own; that one forks a daemon per line.

    {"environ": {...}, "log": "/path"}  ->  {"pid": 123}
                                        ->  {"gone": 123, "code": -9}   once it has ended

A daemon born here differs from `python -m executor run` in nothing but the time its imports took. All of them end with
their fork server, and it ends with its connection; the process ends when nobody has its standard input open any more.
"""

import atexit
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from tests.crash.suspended import arrange

from executor.cli.app import app, load_command


def main() -> None:
    load_command("run")  # imports everything that a run needs
    path = Path(sys.argv[1])
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a fork server
        while True:
            readable, _, _ = select.select([sys.stdin, listener], [], [])
            if sys.stdin in readable:
                break
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    listener.close()
                    _serve(connection)
                    os._exit(0)
    path.unlink()
    path.parent.rmdir()


def _serve(connection: socket.socket) -> None:
    children: set[int] = set()

    def reap(*_: object) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                children.discard(pid)
                _say(connection, {"gone": pid, "code": os.waitstatus_to_exitcode(status)})

    signal.signal(signal.SIGCHLD, reap)
    with connection.makefile("rb") as lines:
        while line := lines.readline():
            wanted = json.loads(line)
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
            pid = os.fork()
            if pid == 0:
                lines.close()
                connection.close()
                _become(wanted["environ"], Path(wanted["log"]))
            children.add(pid)
            _say(connection, {"pid": pid})  # before it can be said to be gone
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _say(connection: socket.socket, message: dict[str, int]) -> None:
    with suppress(BrokenPipeError):  # nobody wants to know any more
        connection.sendall(json.dumps(message).encode() + b"\n")


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
