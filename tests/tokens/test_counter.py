"""Counting in threads: a vocabulary is loaded once, and a cancelled count stops."""

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from sidecar.core.single_flight import SingleFlight
from sidecar.tokens import vocabularies
from sidecar.tokens.counter import Counter
from sidecar.tokens.estimates import Estimate
from sidecar.tokens.texts import Count
from tests.support.fake_provider import WAIT_SECONDS

LONG_TEXT = "word " * 100_000


class Encoding:
    """Counts the words of a text."""

    def encode_ordinary(self, text: str) -> list[int]:
        return [0] * len(text.split())


def estimate(count: Count) -> Estimate:
    return Estimate(count("hello world"), 0)


@asynccontextmanager
async def counting() -> AsyncIterator[Counter]:
    with anyio.fail_after(WAIT_SECONDS):
        async with anyio.create_task_group() as tasks:
            yield Counter(SingleFlight(tasks))


async def test_many_counts_load_their_vocabulary_once_and_in_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[tuple[str, bool]] = []

    def load(name: str) -> Encoding:
        loaded.append((name, threading.current_thread() is threading.main_thread()))
        return Encoding()

    monkeypatch.setattr(vocabularies, "load", load)
    counted: list[Estimate] = []
    async with counting() as counter, anyio.create_task_group() as tasks:

        async def count() -> None:
            counted.append(await counter.count_tokens(estimate, "cl100k_base"))

        for _ in range(20):
            tasks.start_soon(count)
    assert counted == [Estimate(2, 0)] * 20
    assert loaded == [("cl100k_base", False)]


async def test_a_vocabulary_that_could_not_be_loaded_is_loaded_by_the_next_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[str] = []

    def load(name: str) -> Encoding:
        tries.append(name)
        if len(tries) == 1:
            raise vocabularies.VocabularyError(name)
        return Encoding()

    monkeypatch.setattr(vocabularies, "load", load)
    async with counting() as counter:
        with pytest.raises(vocabularies.VocabularyError):
            await counter.count_tokens(estimate, "cl100k_base")
        assert await counter.count_tokens(estimate, "cl100k_base") == Estimate(2, 0)
    assert len(tries) == 2


async def test_bytes_are_counted_without_a_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(vocabularies, "load")
    async with counting() as counter:
        assert await counter.count_bytes(estimate) == Estimate(4, 0)


async def test_a_cancelled_count_stops_between_two_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, released, stopped, counted = threading.Event(), threading.Event(), threading.Event(), list[int]()

    class Slow:
        def encode_ordinary(self, text: str) -> list[int]:
            counted.append(len(text))
            begun.set()
            assert released.wait(WAIT_SECONDS)
            return []

    def check(original: Callable[[], None] = anyio.from_thread.check_cancelled) -> None:
        try:
            original()
        except BaseException:
            stopped.set()
            raise

    monkeypatch.setattr(vocabularies, "load", lambda _: Slow())
    monkeypatch.setattr(anyio.from_thread, "check_cancelled", check)
    async with counting() as counter, anyio.create_task_group() as tasks:
        tasks.start_soon(counter.count_tokens, lambda count: Estimate(count(LONG_TEXT), 0), "cl100k_base")
        assert await anyio.to_thread.run_sync(begun.wait, WAIT_SECONDS)
        tasks.cancel_scope.cancel()
    released.set()
    assert await anyio.to_thread.run_sync(stopped.wait, WAIT_SECONDS)
    assert len(counted) == 1
