"""Exit codes of every command."""

from typing import Final

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2  # the command line itself is wrong; the parser's own code
BAD_SETTINGS: Final = 78  # EX_CONFIG of sysexits.h: restarting will not help

EPILOG: Final = f"Exit codes: {OK} done, {FAILED} failed, {USAGE} wrong command line, {BAD_SETTINGS} wrong settings."
