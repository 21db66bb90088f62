"""Exit codes of every command."""

from typing import Final

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2  # the command line itself is wrong; the parser's own code
UNAVAILABLE: Final = 69  # EX_UNAVAILABLE of sysexits.h: no service runs, or the exchange can't be reached
BAD_SETTINGS: Final = 78  # EX_CONFIG of sysexits.h: restarting will not help
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells say it

EPILOG: Final = (
    f"Exit codes: {OK} done, {FAILED} failed, {USAGE} wrong command line, "
    f"{UNAVAILABLE} no service or no exchange to ask, {BAD_SETTINGS} wrong settings."
)
