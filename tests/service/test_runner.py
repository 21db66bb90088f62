"""What the service runs on."""

import gc

from executor.service import runner


def test_what_is_imported_is_not_looked_through_for_garbage_while_a_trade_waits_for_its_start() -> None:
    frozen = 0

    async def main() -> None:
        nonlocal frozen
        frozen = gc.get_freeze_count()

    before, tracked = gc.get_freeze_count(), len(gc.get_objects())
    runner.run(main())
    assert frozen >= before + tracked
