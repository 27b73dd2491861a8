"""Streams that come faster than they can be read: who has a turn when."""

import asyncio
from functools import partial

from sidecar.http.turns import MAX_WOKEN, TURN_BYTES, Turns


async def test_what_is_over_a_turn_waits_for_the_next_in_order() -> None:
    turns, woken = Turns(), list[int]()
    taken = [turns.take(TURN_BYTES // 2, partial(woken.append, number)) for number in range(6)]
    assert taken == [True, True, False, False, False, False]
    assert woken == []
    for expected in ([2, 3], [2, 3, 4, 5]):
        await asyncio.sleep(0)
        assert woken == expected


async def test_who_comes_while_others_wait_comes_after_them() -> None:
    turns, woken = Turns(), list[str]()
    for name in ("a", "b", "c"):
        turns.take(TURN_BYTES, partial(woken.append, name))
    await asyncio.sleep(0)
    assert woken == ["b"]
    assert not turns.take(1, partial(woken.append, "d"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert woken == ["b", "c", "d"]


async def test_every_turn_begins_anew() -> None:
    turns = Turns()
    for _ in range(5):
        assert turns.take(TURN_BYTES, lambda: None)
        await asyncio.sleep(0)


async def test_so_many_readers_are_woken_at_once_and_the_others_in_order_as_these_have_read() -> None:
    turns, late = Turns(), list[int]()

    def wake(number: int) -> None:
        assert turns.wake(lambda: None)
        late.append(number)

    assert all(turns.wake(lambda: None) for _ in range(MAX_WOKEN))
    assert not any(turns.wake(partial(wake, number)) for number in range(3))
    for expected in ([0], [0, 1], [0, 1, 2], [0, 1, 2]):
        turns.rest()
        assert late == expected
    assert turns.wake(lambda: None)


async def test_a_reader_that_is_late_and_has_left_keeps_nobody_waiting() -> None:
    turns, late = Turns(), list[str]()
    assert all(turns.wake(lambda: None) for _ in range(MAX_WOKEN))
    turns.wake(lambda: late.append("has left"))
    turns.wake(lambda: late.append("is woken"))
    turns.rest()
    assert late == ["has left", "is woken"]
