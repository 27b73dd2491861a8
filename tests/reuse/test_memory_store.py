"""Stored answers in memory: bounded, dropped in time, forgotten by scope."""

import pytest

from sidecar.reuse import memory_store
from sidecar.reuse.memory_store import ENTRY_BYTES, MemoryStore
from sidecar.reuse.question import Question


class Clock:
    """A wall clock that stands still."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stopped = Clock()
    monkeypatch.setattr(memory_store, "time", stopped)
    return stopped


def question(number: int, scope: str = "s") -> Question:
    return Question(b"%d" % number, scope)


async def test_an_answer_is_found_until_its_time_is_up(clock: Clock) -> None:
    store = MemoryStore(10_000)
    store.keep(question(1), b"answer", 60, 0)
    clock.now += 59
    found = await store.find(question(1))
    assert (found.data, found.age_seconds, found.epoch) == (b"answer", 59, 0)
    clock.now += 1
    assert (await store.find(question(1))).data is None
    assert store.used_bytes == 0


async def test_a_newer_answer_takes_the_place_and_the_time_of_the_older(clock: Clock) -> None:
    store = MemoryStore(10_000)
    store.keep(question(1), b"old", 60, 0)
    store.keep(question(1), b"newer", 600, 0)
    clock.now += 61
    assert (await store.find(question(1))).data == b"newer"
    assert store.used_bytes == ENTRY_BYTES + 5


async def test_the_least_recently_used_answers_make_room(clock: Clock) -> None:
    store = MemoryStore(3 * (ENTRY_BYTES + 100))
    for number in range(3):
        clock.now += 1
        store.keep(question(number), bytes(100), 60, 0)
    await store.find(question(0))
    store.keep(question(3), bytes(100), 60, 0)
    assert [(await store.find(question(number))).data is not None for number in range(4)] == [True, False, True, True]
    for number in range(100, 1100):
        store.keep(question(number), bytes(number % 100), 60, 0)
        assert store.used_bytes <= store.max_bytes


async def test_an_answer_larger_than_the_store_is_not_kept() -> None:
    store = MemoryStore(1000)
    store.keep(question(1), bytes(600), 60, 0)
    assert (await store.find(question(1))).data is None
    assert store.used_bytes == 0


async def test_what_was_replaced_a_million_times_leaves_nothing_behind(clock: Clock) -> None:
    store = MemoryStore(10_000)
    for number in range(5000):
        clock.now += 0.001
        store.keep(question(number % 3), b"x", 600, 0)
    assert len(store._expiries) <= 2 * 3 + 65  # noqa: SLF001 - it must not grow with what was dropped


async def test_a_scope_is_forgotten_alone() -> None:
    store = MemoryStore(100_000)
    for number in range(4):
        store.keep(question(number, "one" if number % 2 else "other"), b"x", 60, 0)
    assert await store.forget("one") == 2
    assert await store.forget("one") == 0
    assert (await store.find(question(1, "one"))).data is None
    assert (await store.find(question(2, "other"))).data == b"x"


async def test_what_was_begun_before_it_was_forgotten_is_not_stored_after() -> None:
    store = MemoryStore(100_000)
    epoch = (await store.find(question(1))).epoch
    assert epoch is not None
    await store.forget("s")
    store.keep(question(1), b"late", 60, epoch)
    assert (await store.find(question(1))).data is None
