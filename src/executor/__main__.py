"""The command line's entrance: `executor` and `python -m executor`."""

import gc
import os
import signal


def main() -> None:
    _end_when_told()
    # What is imported is no garbage: to look for some in it again and again takes a tenth of a short command's time.
    gc.disable()
    from executor.cli.app import run  # noqa: PLC0415

    run()


def _end_when_told() -> None:
    """The system ends no first process of a container (one without an init) by a signal that is left to its default:
    what comes before there is a handler, while a start waits for the exchange, say, would be lost.
    """
    if os.getpid() != 1:
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda told, _: os._exit(128 + told))


if __name__ == "__main__":
    main()
