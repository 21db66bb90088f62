"""A node that was suspended tells nothing of an account that has become another's meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from executor.service.unsure import HOLD_S, WhileUnsure


class Node:
    def __init__(self) -> None:
        self.sure = True
        self.claims: dict[str, object] = {"alice": object(), "bob": object()}
        self.now = 0.0
        self.standing = asyncio.Event()
        self.standing.set()
        self.told: list[str] = []
        self.unsure = WhileUnsure(lambda: self.sure, self.claims.get, clock=lambda: self.now, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        await self.standing.wait()
        self.now += seconds
        await asyncio.sleep(0)

    def tell(self, account: str, words: str) -> None:
        self.unsure.tell(account, lambda: self.told.append(words))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.unsure.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
        assert task.cancelled()


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_who_is_sure_tells_at_once() -> None:
    node = Node()
    node.tell("alice", "opened")
    assert node.told == ["opened"]


async def test_what_is_told_while_it_is_not_sure_waits_and_comes_in_order() -> None:
    node = Node()
    async with node.running():
        node.standing.clear()
        node.sure = False
        node.tell("alice", "first")
        await turns()
        assert node.told == []
        node.sure = True
        node.tell("bob", "second")
        assert node.told == []
        node.standing.set()
        await turns()
        assert node.told == ["first", "second"]
        node.tell("alice", "third")
        assert node.told == ["first", "second", "third"]


async def test_of_an_account_that_was_lost_nothing_is_told() -> None:
    node = Node()
    async with node.running():
        node.standing.clear()
        node.sure = False
        node.tell("alice", "two entries are live")
        node.tell("bob", "unprotected")
        del node.claims["alice"]
        node.tell("alice", "an order that is not on record")
        node.claims["alice"] = object()  # claimed anew: what was seen before is still of the life before
        node.sure = True
        with structlog.testing.capture_logs() as logs:
            node.standing.set()
            await turns()
    assert node.told == ["unprotected"]
    assert [(line["event"], line["account"]) for line in logs] == [("not_told", "alice")] * 2


async def test_where_nobody_can_say_it_is_told_a_little_late() -> None:
    node = Node()
    async with node.running():
        node.sure = False
        node.tell("alice", "unprotected")
        async with asyncio.timeout(10):
            while not node.told:  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0)
    assert HOLD_S <= node.now < HOLD_S + 1
