"""The pool: which connection is used next, how many there may be, and that many take no longer than few."""

import asyncio
import time
from collections.abc import Callable
from typing import cast

import pytest

from sidecar.http import pool as pools
from sidecar.http.connection import Connection
from sidecar.http.pool import IDLE_CONNECTIONS, Pool

HERE, THERE = ("http", "here", 80), ("http", "there", 80)


class Idle:
    """What the pool sees of a connection."""

    def __init__(self) -> None:
        self.closed = False
        self.readable = False
        self.ended = asyncio.Event()

    def has_data(self, is_readable: object) -> bool:  # noqa: ARG002 - the shape of a connection
        return self.readable

    def abort(self) -> None:
        self.closed = True
        self.ended.set()


def connection() -> Connection:
    return cast("Connection", Idle())


def pool(most: int | None = None, clock: Callable[[], float] = time.monotonic) -> Pool:
    return Pool(most, lambda _: False, clock)


async def test_the_connection_that_was_used_last_is_used_next() -> None:
    kept, one, two, other = pool(), connection(), connection(), connection()
    kept.put_back(HERE, one)
    kept.put_back(THERE, other)
    kept.put_back(HERE, two)
    assert [await kept.acquire(HERE) for _ in range(3)] == [two, one, None]
    assert await kept.acquire(THERE) is other
    kept.close()


async def test_a_connection_that_has_closed_or_has_something_to_say_is_not_used() -> None:
    kept, good, gone, talks, forgotten = pool(), *(connection() for _ in range(4))
    for each in (good, gone, talks, forgotten):
        kept.put_back(HERE, each)
    gone.abort()
    cast("Idle", talks).readable = True
    kept.forget(forgotten)
    assert await kept.acquire(HERE) is good
    assert talks.closed
    assert await kept.acquire(HERE) is None
    kept.close()


async def test_of_too_many_the_one_that_has_waited_longest_is_closed() -> None:
    kept, idle = pool(), [connection() for _ in range(IDLE_CONNECTIONS + 2)]
    for each in idle:
        kept.put_back(HERE, each)
    assert [each.closed for each in idle] == [True, True] + [False] * IDLE_CONNECTIONS
    kept.close()
    assert all(each.closed for each in idle)


async def test_a_connection_that_has_waited_too_long_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "IDLE_SECONDS", 0.05)
    kept, early, late = pool(), connection(), connection()
    kept.put_back(HERE, early)
    await asyncio.sleep(0.03)
    kept.put_back(THERE, late)
    async with asyncio.timeout(5):
        await cast("Idle", early).ended.wait()
        assert not late.closed
        await cast("Idle", late).ended.wait()
    assert await kept.acquire(THERE) is None


async def test_a_connection_that_has_waited_while_the_machine_slept_is_not_used() -> None:
    now = 0.0
    kept, early, late = pool(clock=lambda: now), connection(), connection()
    kept.put_back(HERE, early)
    now = 44
    kept.put_back(HERE, late)
    now = 46
    assert await kept.acquire(HERE) is late
    assert early.closed
    kept.put_back(HERE, late)
    now = 400
    assert await kept.acquire(HERE) is None
    assert late.closed


async def test_what_comes_on_top_of_the_most_waits_and_is_served_in_order() -> None:
    kept = pool(most=2)
    assert [await kept.acquire(HERE), await kept.acquire(HERE)] == [None, None]
    waiting = [asyncio.ensure_future(kept.acquire(HERE)) for _ in range(3)]
    await asyncio.sleep(0)
    returned = connection()
    kept.put_back(HERE, returned)
    kept.lose()
    assert [await waiting[0], await waiting[1]] == [returned, None]
    assert not waiting[2].done()
    kept.lose()
    assert await waiting[2] is None


async def test_an_idle_connection_makes_room_for_another_origin() -> None:
    kept, idle = pool(most=1), connection()
    assert await kept.acquire(HERE) is None
    kept.put_back(HERE, idle)
    waiting = asyncio.ensure_future(kept.acquire(THERE))
    await asyncio.sleep(0)
    assert idle.closed
    assert not waiting.done()
    kept.lose()
    assert await waiting is None


async def test_a_returned_connection_makes_room_for_another_origin() -> None:
    kept, returned = pool(most=1), connection()
    assert await kept.acquire(HERE) is None
    waiting = asyncio.ensure_future(kept.acquire(THERE))
    await asyncio.sleep(0)
    kept.put_back(HERE, returned)
    assert returned.closed
    kept.lose()
    assert await waiting is None


@pytest.mark.parametrize("given", [False, True])
async def test_who_leaves_while_waiting_takes_no_place(given: bool) -> None:
    kept = pool(most=1)
    assert await kept.acquire(HERE) is None
    first, second = (asyncio.ensure_future(kept.acquire(HERE)) for _ in range(2))
    await asyncio.sleep(0)
    if given:
        # It has its turn, and is cancelled before it knows.
        kept.lose()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    if not given:
        kept.lose()
    assert await second is None


async def test_many_that_end_in_one_turn_take_no_time() -> None:
    kept = pool()
    ended = [connection() for _ in range(10_000)]
    begun = time.perf_counter()
    for each in ended:
        kept.put_back(HERE, each)
    assert time.perf_counter() - begun < 0.5
    kept.close()
