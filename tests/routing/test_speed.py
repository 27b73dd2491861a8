"""A choice is a matter of milliseconds."""

import time
from statistics import median

import anyio
import pytest

from protocol.messages import Message
from protocol.options import Options
from protocol.requests import Chat
from protocol.routes import RouteOptions
from sidecar.core.request_state import RequestState
from sidecar.routing.choice import list_candidates
from sidecar.routing.history import MAX_ANSWERS
from sidecar.upstream.caches import KnownAnswers, ModelKey
from sidecar.usage.ledger_row import PastAnswer
from tests.support.upstream import running

BUDGET_SECONDS = 0.005

MODELS = [
    *(
        f"anthropic/claude-{name}"
        for name in ("haiku-5-5", "haiku-4-5", "sonnet-5-5", "sonnet-5", "opus-5", "opus-4-8")
    ),
    *(f"openai/gpt-{name}" for name in ("6", "6-luna", "5.2", "5-mini", "5-nano", "4.1", "4o-mini", "4o")),
    *("anthropic/claude-opus-5-5", "openai/unknown"),
]


@pytest.mark.alone
async def test_a_choice_among_sixteen_models_takes_less_than_five_milliseconds() -> None:
    """Once they are warm. What other programs take of the machine does not count."""
    chat = Chat(
        model="auto",
        messages=[Message(role="user", content="What is a sidecar? " * 500)],
        options=Options(route=RouteOptions(models=MODELS)),
    )
    env = {"ANTHROPIC_API_KEY": "sk-ant-made-up", "OPENAI_API_KEY": "sk-made-up"}
    took = []
    async with running(env=env) as up:
        for model in MODELS:
            key = ModelKey(*model.split("/"))
            answers = [PastAnswer("title" if n % 3 else None, 900 + n, 10 * n, n, 300 + n) for n in range(MAX_ANSWERS)]
            up.known_answers.put(key, KnownAnswers(anyio.current_time(), answers))
        for _ in range(30):
            begun = time.process_time()
            found = await list_candidates(up, RequestState("stream_chat"), chat)
            took.append(time.process_time() - begun)
            assert len(found) == len(MODELS) == 16
    assert median(took) < BUDGET_SECONDS
