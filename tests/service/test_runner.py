"""What the service runs on."""

import gc
import resource

from executor.service import runner


def test_what_is_imported_is_not_looked_through_for_garbage_while_a_trade_waits_for_its_start() -> None:
    frozen = 0

    async def main() -> None:
        nonlocal frozen
        frozen = gc.get_freeze_count()

    before, tracked = gc.get_freeze_count(), len(gc.get_objects())
    runner.run(main())
    assert frozen >= before + tracked


def test_all_descriptors_that_the_system_lets_it_have_are_its_own() -> None:
    """A shell's 1,024 are used up by some two hundred symbols, and then no state can be written any more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def main() -> tuple[int, int]:
        return resource.getrlimit(resource.RLIMIT_NOFILE)

    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    try:
        assert runner.run(main()) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
