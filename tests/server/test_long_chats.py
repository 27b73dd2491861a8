"""A chat of 100,000 messages: what takes long is done in worker threads, and nobody else waits for it."""

import threading
import time
from typing import Any

import msgspec
import pytest

from protocol.requests import Chat
from sidecar.core import message_content
from sidecar.core.message_content import has_many_parts
from sidecar.server import framing
from sidecar.tokens import prompts
from sidecar.wires import openai_chat
from tests.support import app
from tests.support.lines import Object

pytestmark = pytest.mark.long

MANY = 100_000
LOOP_SECONDS = 0.05
"""How long one step in the loop may take of the processor."""


def chat_of(messages: list[Object], **more: Any) -> Object:
    return {"model": "m", "messages": messages} | more


def turns(count: int, **part: Any) -> list[Object]:
    content = [{"type": "text", "text": "some words in it"} | part]
    return [{"role": ("user", "assistant")[at % 2], "content": content} for at in range(count)]


@pytest.mark.parametrize(
    ("count", "part"), [(8000, {}), (8000, {"refusal": None}), (10, {})], ids=["long", "long with nulls", "short"]
)
async def test_a_long_chat_is_decoded_and_encoded_in_worker_threads_and_a_short_one_is_not(
    monkeypatch: pytest.MonkeyPatch, count: int, part: Object
) -> None:
    threads: dict[str, int] = {}

    def noting(module: Any, name: str) -> None:
        wrapped = getattr(module, name)

        def noted(*arguments: Any) -> Any:
            threads[name] = threading.get_ident()
            return wrapped(*arguments)

        monkeypatch.setattr(module, name, noted)

    noting(framing, "decode_params")
    noting(openai_chat, "encode")
    async with app.running() as host:
        host.http.answer_with({"error": {"message": "No."}}, 400)
        params = chat_of(turns(count, **part), api_key="k")
        error = (await host.ask("generate", params, provider="openai"))["error"]
    assert error["message"] == "No."
    assert set(threads) == {"decode_params", "encode"}
    assert (threading.get_ident() in threads.values()) is (count == 10)
    assert len(msgspec.json.decode(host.http.asked[0].request.body)["messages"]) == count


async def test_mistakes_of_long_parameters_are_told_as_those_of_short_ones() -> None:
    async with app.running() as host:
        for count in (2, 8000):
            wrong = turns(count)
            wrong[1] = {"role": "user", "content": [{"type": "text", "text": 5}]}
            error = (await host.ask("generate", chat_of(wrong), provider="openai"))["error"]
            assert (error["code"], error["param"]) == ("invalid_request", "params.messages[1].content[0].text")
            unknown = chat_of(turns(count, colour="red"), api_key="k")
            host.http.answer_with({"error": {"message": "No."}}, 400)
            assert (await host.ask("generate", unknown, provider="openai"))["error"]["message"] == "No."


@pytest.mark.parametrize(("count", "parts", "many"), [(1, 1000, False), (1, 1001, True), (1001, 1, True)])
def test_many_parts_are_counted_in_one_message_or_in_several(count: int, parts: int, many: bool) -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "a"}] * parts}] * count
    found = msgspec.convert(chat_of(messages), Chat).messages
    assert has_many_parts(found) is many
    assert message_content.MANY_PARTS == 1000


def test_the_prompt_of_a_long_chat_is_estimated_at_once_and_well() -> None:
    messages = [{"role": "user", "content": f"message {at} with some words in it"} for at in range(MANY)]
    messages[7]["content"] = "word " * 200_000
    chat = msgspec.convert(chat_of(messages), Chat)
    prompts.estimate_prompt_tokens(chat)
    began = time.thread_time()
    sampled = prompts.estimate_prompt_tokens(chat)
    assert time.thread_time() - began < LOOP_SECONDS
    size = MANY // 10
    whole = sum(
        prompts.estimate_prompt_tokens(msgspec.structs.replace(chat, messages=chat.messages[at : at + 4000]))
        for at in range(0, MANY, 4000)
    )
    assert size < sampled
    assert abs(sampled - whole) < 0.01 * whole
