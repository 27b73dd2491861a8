"""Streams that come faster than they can be read: who has a turn when."""

import asyncio
from functools import partial

from sidecar.http.turns import TURN_BYTES, Turns


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
