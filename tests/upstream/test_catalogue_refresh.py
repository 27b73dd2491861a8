"""The refresh of the catalogue: asked again like any question, fetched once for all, and harmless when it fails."""

import random
from pathlib import Path
from typing import Any

import anyio
import pytest

from protocol.replies import Warn
from sidecar.config.values import REFRESH_URL
from sidecar.upstream.catalogue_refresh import MAX_DOCUMENT_BYTES, load_stored, refresh
from sidecar.upstream.context import Upstream
from tests.support import upstream
from tests.support.answer_rules import DOWN, Held
from tests.support.fake_services import Answer, document
from tests.support.in_memory import RuledServer

MODEL = "gpt-9-terra"
DOCUMENT = document({"openai": {"models": {MODEL: {"cost": {"input": 3, "output": 12.5}}}}})


@pytest.fixture(autouse=True)
def _without_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda *_: 0.0)


@pytest.fixture
def web() -> RuledServer:
    return RuledServer()


def knows_model(up: Upstream) -> bool:
    return MODEL in up.found.refreshed.models.get("openai", {})


@pytest.mark.parametrize("failure", [DOWN, document({}, 503), document({}, 429, retry_after_ms="20")])
async def test_a_transient_failure_is_asked_again(web: RuledServer, failure: Any) -> None:
    web.answer(f"GET {REFRESH_URL}", failure, DOCUMENT)
    async with upstream.running(web) as up:
        assert await refresh(up) == []
        assert knows_model(up)
    # Nothing of the user's goes there.
    assert [sorted(seen.headers) for seen in web.asked()] == [
        ["accept", "accept-encoding", "connection", "host", "user-agent"]
    ] * 2


@pytest.mark.parametrize(
    ("answer", "limits", "attempts", "message"),
    [
        (document({}, 503), {}, 3, "The server answered with status 503."),
        (document({}, 503), {"max_attempts": 1}, 1, "The server answered with status 503."),
        (document({}, 503, retry_after="50"), {}, 1, "The server answered with status 503."),
        (document({}, 404), {}, 1, "The server answered with status 404."),
        (document({}, 302, location="https://elsewhere.example/"), {}, 1, "The server answered with status 302."),
        (Answer(b" " * (MAX_DOCUMENT_BYTES + 1)), {}, 1, "The provider's reply is too large."),
    ],
)
async def test_a_failure_is_a_warning_and_the_catalogue_stays_as_it_was(
    web: RuledServer, answer: Answer, limits: dict[str, int], attempts: int, message: str
) -> None:
    web.answer(f"GET {REFRESH_URL}", DOCUMENT)
    async with upstream.running(web, limits=limits) as up:
        await refresh(up)
        web.answer(f"GET {REFRESH_URL}", answer)
        web.seen.clear()
        text = f"The catalogue could not be refreshed: {message}"
        assert await refresh(up) == [Warn(code="catalogue_not_refreshed", message=text)]
        assert knows_model(up)
    assert len(web.seen) == attempts


async def test_concurrent_refreshes_are_one_request_that_survives_a_cancellation(web: RuledServer) -> None:
    held = Held(DOCUMENT)
    web.answer(f"GET {REFRESH_URL}", held)
    async with upstream.running(web) as up:
        async with anyio.create_task_group() as requests:
            for _ in range(5):
                requests.start_soon(refresh, up)
            await web.wait_for("*")
            requests.cancel_scope.cancel()
        async with anyio.create_task_group() as requests:
            requests.start_soon(refresh, up)
            held.let_go()
        assert knows_model(up)
    web.only()


async def test_a_fetched_catalogue_is_loaded_by_the_next_process(web: RuledServer, tmp_path: Path) -> None:
    web.answer(f"GET {REFRESH_URL}", DOCUMENT)
    async with upstream.running(web, cache_dir=str(tmp_path)) as up:
        assert await refresh(up) == []
    async with upstream.running(web, cache_dir=str(tmp_path)) as up:
        assert not knows_model(up)
        await load_stored(up)
        assert knows_model(up)
    web.only()
