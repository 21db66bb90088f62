"""Deliberate bugs that only a slow reader or hostile bytes show, as those of `tests.sim.mutants`; each must be found
within a minute: by a campaign of real daemons (`tests.crash.hunt`), or by the test that is there for it.

    python -m tests.crash.mutants            all of them, as a table
    python -m tests.crash.mutants NAME ...   some

The table of all is kept in `mutants.txt` beside this file.
"""

import sys
from pathlib import Path
from typing import Final

from tests.sim.mutant import ON_THE_WIRE, Mutant
from tests.sim.mutants import main

WIRE_TABLE: Final = Path(__file__).with_name("mutants.txt")
DECODING: Final = "src/executor/decoding.py"
CONNECTION: Final = "src/executor/exchange/transport/connection.py"
SUPERVISED: Final = "src/executor/exchange/transport/supervised.py"

WIRE_MUTANTS: Final = (
    Mutant(
        "whoever logs waits for who reads",
        "src/executor/ops/log_writer.py",
        "        self._append(data)\n        self._changed.notify_all()\n",
        "        os.write(self._descriptor, data)\n",
        bench=ON_THE_WIRE,
    ),
    Mutant(
        "a log that nobody reads any more ends the service",
        "src/executor/cli/run.py",
        "    logs.take_over_stderr(settings.log_format)\n",
        "",
        bench=ON_THE_WIRE,
    ),
    Mutant(
        "text that is no UTF-8 rises out of its reader",
        DECODING,
        "    except (ValueError, ArithmeticError, RecursionError) as error:\n",
        "    except (ArithmeticError, RecursionError) as error:\n",
        bench=ON_THE_WIRE,
    ),
    Mutant(
        "nesting too deep rises out of its reader",
        DECODING,
        "    except (ValueError, ArithmeticError, RecursionError) as error:\n",
        "    except (ValueError, ArithmeticError) as error:\n",
        bench=ON_THE_WIRE,
    ),
    Mutant(
        "an answer that can't be read says that nothing was sent",
        CONNECTION,
        "            return read(answer.body)\n        except msgspec.DecodeError as error:\n"
        '            return Unknown(f"HTTP {answer.status}, but not the answer to {call}: {error}", attempt.fence)\n',
        "            return read(answer.body)\n        except msgspec.DecodeError as error:\n"
        '            return Refused(Why.NOT_SENT, 0, f"not the answer to {call}: {error}")\n',
        bench=ON_THE_WIRE,
    ),
    Mutant(
        "whoever raises an alert sends it",
        "src/executor/ops/alerts/sender.py",
        '        """Something new waits."""\n        self._news.set()\n',
        '        """Something new waits."""\n        self._news.set()\n'
        "        with contextlib.suppress(httpx.HTTPError):\n"
        '            httpx.post(self.channel._chat.api._base + "sendMessage", timeout=30)\n',
        ("import asyncio\nimport time\n", "import asyncio\nimport contextlib\nimport time\n\nimport httpx\n"),
        bench=f"{ON_THE_WIRE} tests/scenarios/test_alerts.py::test_a_trade_from_start_to_end",
    ),
    Mutant(
        "the end waits for the last words",
        "src/executor/ops/alerting.py",
        "            async with asyncio.timeout(FAREWELL_S):\n",
        "            async with asyncio.timeout(None):\n",
        bench=ON_THE_WIRE,
    ),
    Mutant(
        "a read that can't be read is not asked again",
        CONNECTION,
        '                raise _Hiccup(f"HTTP {answer.status}, but unreadable: {error}") from error\n',
        "                raise\n",
        bench=ON_THE_WIRE,
    ),
    Mutant(
        "a huge answer is read to its end",
        "src/executor/exchange/transport/client.py",
        "        if size > BODY_MAX:\n",
        "        if size > BODY_MAX * BODY_MAX:\n",
        bench=f"{ON_THE_WIRE} tests/exchange/transport/test_bodies.py",
    ),
    Mutant(
        "a message of any size is kept",
        SUPERVISED,
        "            max_size=self._largest_message,\n",
        "            max_size=None,\n",
        bench=f"{ON_THE_WIRE} tests/exchange/streams/test_streams.py",
    ),
    Mutant(
        "a push that can't be read is passed over",
        SUPERVISED,
        '            self._announce_gap(f"unreadable message: {error}")',
        '            _log.info("unreadable_message", error=str(error))',
        bench=f"{ON_THE_WIRE} tests/exchange/streams/test_streams.py",
    ),
    Mutant(
        "a page that takes nothing is kept waiting for",
        "src/executor/ops/page/feed.py",
        "            except asyncio.QueueFull:\n                self.dropped += 1\n",
        "            except asyncio.QueueFull:\n                continue\n                self.dropped += 1\n",
        bench=f"{ON_THE_WIRE} tests/ops/test_page.py::test_who_does_not_read_is_let_go_and_others_read_on",
    ),
)
"""What holds the loop up, or ends it, or is taken for what it is not, where everybody behaves nothing of it shows."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], WIRE_MUTANTS, WIRE_TABLE))
