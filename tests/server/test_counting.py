"""`count_tokens` within the process: the vocabulary is loaded once, and its absence is no failure."""

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import anyio
import anyio.from_thread
import anyio.to_thread
import msgspec
import pytest

from protocol.requests import CountTokens, Envelope
from sidecar.config.values import Config
from sidecar.core.request_state import RequestState
from sidecar.core.single_flight import SingleFlight
from sidecar.providers.setup import Setup
from sidecar.server import counting
from sidecar.server.app import App
from sidecar.server.open_requests import OpenRequest
from sidecar.tokens import vocabularies
from tests.support.fake_provider import WAIT_SECONDS

TEXT = msgspec.convert({"model": "gpt-4", "text": "hello world"}, CountTokens)


def app_of(tasks: Any) -> App:
    """Return as much of a host as counting looks at."""
    config = Config(path="")
    upstream = SimpleNamespace(config=config, setup=Setup(config), sessions={}, single_flight=SingleFlight(tasks))
    return cast("App", SimpleNamespace(upstream=upstream))


def entry() -> OpenRequest:
    envelope = Envelope(id=1, action="count_tokens", provider="openai")
    return cast("OpenRequest", SimpleNamespace(envelope=envelope, state=RequestState("count_tokens", "openai")))


class Encoding:
    """Counts its words."""

    def encode_ordinary(self, text: str) -> list[int]:
        return [0] * len(text.split())


async def test_many_counts_load_their_vocabulary_once_and_in_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[tuple[str, bool]] = []

    def load(name: str) -> Encoding:
        loaded.append((name, threading.current_thread() is threading.main_thread()))
        return Encoding()

    monkeypatch.setattr(vocabularies, "load", load)
    answers: list[Any] = []
    async with anyio.create_task_group() as tasks:
        host = app_of(tasks)

        async def count() -> None:
            answers.append(await counting.count(host, entry(), TEXT))

        for _ in range(20):
            tasks.start_soon(count)
    assert [answer["tokens"] for answer in answers] == [2] * 20
    assert loaded == [("cl100k_base", False)]


async def test_without_a_vocabulary_bytes_are_counted_and_the_next_count_tries_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[str] = []

    def load(name: str) -> Encoding:
        tries.append(name)
        if len(tries) == 1:
            raise vocabularies.VocabularyError(name)
        return Encoding()

    monkeypatch.setattr(vocabularies, "load", load)
    async with anyio.create_task_group() as tasks:
        host = app_of(tasks)
        guess = await counting.count(host, entry(), TEXT)
        answer = await counting.count(host, entry(), TEXT)
    assert guess == {
        "tokens": 4,
        "exact": False,
        "method": "bytes",
        "basis": "3.5 bytes a token",
        "error_band_pct": 60,
        "warnings": [],
    }
    assert (answer["tokens"], answer["exact"]) == (2, True)
    assert len(tries) == 2


async def test_a_count_that_nobody_waits_for_stops_between_two_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
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
    long = msgspec.structs.replace(TEXT, text="word " * 100_000)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(counting.count, app_of(tasks), entry(), long)
        assert await anyio.to_thread.run_sync(begun.wait, WAIT_SECONDS)
        tasks.cancel_scope.cancel()
    released.set()
    assert await anyio.to_thread.run_sync(stopped.wait, WAIT_SECONDS)
    assert len(counted) == 1
