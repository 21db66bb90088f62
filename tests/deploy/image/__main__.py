"""`make image-test`: builds the image, runs it for real, and says what it is made of.

    python -m tests.deploy.image [--keep] [WORD ...]

Only checks with one of the words in their names are run. PYTHON_IMAGE: a base to build from, where one can be pulled;
without it one is made of Debian's own packages. Exit code 1 when a check failed, 2 where no engine can be had.
"""

import argparse
import os
import sys
import time
from typing import Final

from tests.deploy.image import base, checks, contents, fleet
from tests.deploy.image.engine import EngineMissing, configured, podman

CHECKS: Final[tuple[checks.Check, ...]] = (
    contents.nothing_to_build_or_install_with_is_in_it,
    contents.no_secret_of_the_build_folder_is_in_a_layer,
    contents.it_lists_its_packages,
    contents.it_is_built_the_same_again,
    checks.the_bundled_run_ends_with_its_balances_adding_up,
    checks.commands_reach_the_service_by_exec,
    checks.the_healthcheck_tells_a_hung_loop,
    checks.sigterm_ends_it_within_the_grace,
    checks.killed_and_started_again_it_goes_on_with_its_trade,
    checks.a_folder_of_somebody_else_is_a_clear_sentence,
    checks.a_volume_that_is_read_only_is_a_clear_sentence,
    checks.a_volume_that_is_full_is_a_clear_sentence,
    checks.wrong_settings_end_with_78_and_name_the_setting,
    checks.the_paper_profile_trades_and_ends,
    checks.the_testnet_profile_serves,
    checks.the_live_profile_serves_only_when_it_is_meant,
    fleet.the_fleet_carries_a_trade_on_when_its_node_is_killed,
)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--keep", action="store_true", help="leave the image where it is")
    arguments.add_argument("words", nargs="*", help="run only what has one of these in its name")
    given = arguments.parse_args()
    wanted = [check for check in CHECKS if not given.words or any(word in check.__name__ for word in given.words)]
    try:
        with configured("docker-compose"):
            return _run(wanted, keep=given.keep)
    except EngineMissing as error:
        sys.stderr.write(f"make image-test can't run here: {error}\n")
        return 2


def _run(wanted: list[checks.Check], *, keep: bool) -> int:
    began = time.monotonic()
    parent = os.environ.get("PYTHON_IMAGE") or base.made()
    _say(f"base: {parent}, {time.monotonic() - began:.0f} s")
    began = time.monotonic()
    contents.built(checks.IMAGE, parent)
    _say(f"built in {time.monotonic() - began:.0f} s; {contents.sizes(checks.IMAGE, parent)}")
    failed = 0
    try:
        for check in wanted:
            failed += not _passed(check)
    finally:
        if not keep:
            podman("rmi", "--force", checks.IMAGE, check=False)
    _say(f"{len(wanted) - failed} passed, {failed} failed")
    return 1 if failed else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _passed(check: checks.Check) -> bool:
    name, began = check.__name__.replace("_", " "), time.monotonic()
    try:
        said = check()
    except AssertionError as error:
        _say(f"FAILED  {name}\n{error}")
        return False
    _say(f"ok      {name} ({time.monotonic() - began:.0f} s): {said}")
    return True


if __name__ == "__main__":
    sys.exit(main())
