"""structlog, without rich: it loads that library for coloured tracebacks wherever it finds it, 4 MB that a service
keeps for ever. Ours are plain, and show no values.
"""

import sys

if "rich" in sys.modules:  # a command that prints with it
    import structlog
else:
    sys.modules["rich"] = None  # type: ignore[assignment]  # not to be found
    try:
        import structlog
    finally:
        del sys.modules["rich"]

__all__ = ["structlog"]
