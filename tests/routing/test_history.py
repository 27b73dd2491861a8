"""What a model's last answers show of the next one."""

from collections.abc import Sequence

import anyio
import pytest

from sidecar.routing import history
from sidecar.routing.history import FRESH_SECONDS, History, read_histories, summarize
from sidecar.upstream.caches import ModelKey
from sidecar.usage.ledger_row import PastAnswer
from tests.support.fake_provider import WAIT_SECONDS
from tests.support.upstream import running

KEY = ModelKey("p", "m")


def answer(
    task: str | None = None, output: int | None = 10, cached: int | None = None, ms: int | None = 5
) -> PastAnswer:
    return PastAnswer(task, 100, output, cached, ms)


def test_nothing_is_known_of_a_model_that_was_never_asked() -> None:
    assert summarize([], "title") == History()


def test_answers_to_the_same_task_tell_how_long_the_next_will_be() -> None:
    answers = [answer(output=1000), answer("title", 10), answer("title", 21)]
    assert summarize(answers, "title").output_tokens == 16
    assert summarize(answers, "never done").output_tokens == 344
    assert summarize(answers, None).output_tokens == 1000


def test_unknown_counts_are_left_out() -> None:
    answers = [answer(output=None, ms=None), answer(output=8, ms=7), PastAnswer(None, None, None, 50, None)]
    assert summarize(answers, None) == History(output_tokens=8, cached_share=0.0, first_chunk_ms=7)


def test_the_share_of_cached_tokens_is_that_of_all_prompts() -> None:
    assert summarize([answer(cached=80), answer(cached=None), answer(cached=500)], None).cached_share == 0.6


def test_the_first_chunk_is_the_median() -> None:
    assert summarize([answer(ms=ms) for ms in (900, 10, 30)], None).first_chunk_ms == 30


async def test_the_ledger_is_read_once_in_a_while_and_nobody_waits_for_it_again() -> None:
    async with running() as up:
        asked: list[Sequence[tuple[str, str]]] = []

        async def read_answers(
            models: Sequence[tuple[str, str]], limit: int
        ) -> dict[tuple[str, str], list[PastAnswer]]:
            asked.append(models)
            return {KEY: [answer(ms=len(asked))] * min(limit, 2)}

        up.ledger.read_answers = read_answers  # type: ignore[method-assign]
        for _ in range(3):
            assert (await read_histories(up, [KEY], None))[KEY].first_chunk_ms == 1
        assert asked == [[KEY]]
        known = up.known_answers.get(KEY)
        assert known is not None
        up.known_answers.put(KEY, known._replace(read_at=known.read_at - FRESH_SECONDS))
        assert (await read_histories(up, [KEY], None))[KEY].first_chunk_ms == 1
        with anyio.fail_after(WAIT_SECONDS):
            while len(asked) < 2:
                await anyio.lowlevel.checkpoint()
        assert (await read_histories(up, [KEY], None))[KEY].first_chunk_ms == 2


async def test_a_slow_ledger_holds_up_one_choice_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "READ_SECONDS", 0.01)
    async with running() as up:
        asked = []

        async def read_answers(*question: object) -> dict[tuple[str, str], list[PastAnswer]]:
            asked.append(question)
            await anyio.sleep_forever()
            raise AssertionError

        up.ledger.read_answers = read_answers  # type: ignore[assignment, method-assign]
        for _ in range(3):
            assert await read_histories(up, [KEY], None) == {KEY: History()}
        assert len(asked) == 1
