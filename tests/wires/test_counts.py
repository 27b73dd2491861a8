"""Counting endpoints: what is counted is what would be sent, in the fields that the endpoint takes."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.requests import Chat
from sidecar.catalogue import provider_rows
from sidecar.core.errors import SidecarError
from sidecar.wires import registry
from sidecar.wires.counts import registry as counters
from sidecar.wires.shared.types import ModelFacts, Quirks, Route
from tests.support import fixtures
from tests.support.sdk_types import accepted

COUNTERS = {row.name for each in provider_rows.read_providers().values() for row in each.counters.values()}

TOOL = {"name": "look_up", "description": "Look a word up.", "parameters": {"type": "object", "properties": {}}}
CHAT = msgspec.convert(
    {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Answer briefly."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [{"type": "tool_call", "id": "c1", "name": "look_up", "arguments": {}}]},
            {"role": "tool", "content": [{"type": "tool_result", "id": "c1", "content": "found"}]},
        ],
        "options": {
            "tools": [TOOL],
            "max_tokens": 100,
            "temperature": 0.5,
            "reasoning": {"effort": "low"},
            "provider_options": {"metadata": {"user_id": "u"}},
        },
    },
    Chat,
)


def route(wire: str, **columns: Any) -> Route:
    facts = ModelFacts(reasoning=True)
    given: dict[str, Any] = {"model": "m", "base_url": "https://provider.test", "facts": facts} | columns
    return Route(provider="somebody", wire=wire, **given)


def counted(module: str, to: Route, chat: Chat = CHAT) -> tuple[str, dict[str, Any]]:
    request = counters.load(module).encode_count(chat, to)
    assert request.method == "POST"
    assert request.headers["content-type"] == "application/json"
    return request.url, json.loads(request.body)


def sent(to: Route, chat: Chat = CHAT) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(registry.load(to.wire).encode(chat, to).request.body)
    return body


def test_every_counter_is_tested_here() -> None:
    assert set(ANSWERS) == COUNTERS


# --- requests --------------------------------------------------------------------------------


@pytest.mark.long
def test_anthropic_takes_the_prompt_and_what_changes_it() -> None:
    to = route("anthropic_messages")
    url, body = counted("anthropic_messages", to)
    assert url == "https://provider.test/v1/messages/count_tokens"
    assert set(body) == {"model", "system", "messages", "tools", "thinking", "output_config"}
    assert body == {name: sent(to)[name] for name in body}
    from anthropic.types import MessageCountTokensParams

    assert accepted(MessageCountTokensParams, body) == body


def test_anthropic_in_the_cloud_names_the_model_in_the_body() -> None:
    path = "/v1/projects/p/locations/l/publishers/anthropic/models/claude-x@1:streamRawPredict"
    to = route("anthropic_messages", model="claude-x@1", path=path, quirks=Quirks(version_in_body="vertex-1"))
    url, body = counted("anthropic_messages", to)
    assert url == "https://provider.test/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict"
    assert (body["model"], body["anthropic_version"]) == ("claude-x@1", "vertex-1")
    assert body["messages"] == sent(to)["messages"]


@pytest.mark.long
@pytest.mark.parametrize("path", [None, "/responses?api-version=2"])
def test_responses_takes_the_input_and_what_changes_it(path: str | None) -> None:
    to = route("openai_responses", path=path)
    url, body = counted("openai_responses", to)
    query = "?api-version=2" if path else ""
    assert url == f"https://provider.test/responses/input_tokens{query}"
    assert set(body) == {"model", "input", "tools", "reasoning"}
    assert body == {name: sent(to)[name] for name in body}
    from openai.types.responses import InputTokenCountParams

    assert accepted(InputTokenCountParams, body) == body


def test_responses_counts_a_chat_for_another_wire_in_its_own_format() -> None:
    to = route("openai_chat", path="/chat/completions")
    url, body = counted("openai_responses", to)
    assert url == "https://provider.test/responses/input_tokens"
    assert body["input"] == sent(route("openai_responses"))["input"]


def test_gemini_takes_the_whole_request_in_an_envelope() -> None:
    to = route("gemini", model="gemini-x")
    url, body = counted("gemini", to)
    assert url == "https://provider.test/v1beta/models/gemini-x:countTokens"
    assert body == {"generateContentRequest": {"model": "models/gemini-x"} | sent(to)}


def test_gemini_in_the_cloud_takes_the_prompt_alone() -> None:
    path = "/v1beta1/projects/p/locations/l/publishers/google/models/gemini-x:streamGenerateContent?alt=sse"
    to = route("gemini", model="gemini-x", path=path)
    chat = msgspec.structs.replace(CHAT, options=msgspec.structs.replace(CHAT.options, tool_choice="required"))
    url, body = counted("gemini", to, chat)
    assert url == f"https://provider.test{path.partition(':')[0]}:countTokens"
    assert set(body) == {"contents", "systemInstruction", "tools", "generationConfig"}
    assert body == {name: sent(to, chat)[name] for name in body}


@pytest.mark.parametrize(
    "model",
    [
        "anthropic.claude-x-v1:0",
        "us.anthropic.claude-x-v1:0",
        "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-x-v1:0",
    ],
)
def test_bedrock_takes_the_prompt_and_the_model_itself(model: str) -> None:
    to = route("bedrock_converse", model=model)
    url, body = counted("bedrock_converse", to)
    assert url == "https://provider.test/model/anthropic.claude-x-v1%3A0/count-tokens"
    converse = body["input"]["converse"]
    assert set(converse) >= {"messages", "system", "toolConfig"}
    assert not set(converse) & {"inferenceConfig", "metadata"}
    assert converse == {name: sent(to)[name] for name in converse}


def test_xai_takes_every_text_as_one() -> None:
    url, body = counted("xai", route("openai_responses", base_url="https://provider.test/v1"))
    assert url == "https://provider.test/v1/tokenize-text"
    assert body["model"] == "m"
    for text in ("Answer briefly.", "Hi", "look_up", "found", "Look a word up."):
        assert text in body["text"]


CASES = [case for case in fixtures.cases() if case.wire in ("anthropic_messages", "openai_responses", "gemini")]
MODULES = {"anthropic_messages": "anthropic_messages", "openai_responses": "openai_responses", "gemini": "gemini"}


@pytest.mark.long
@pytest.mark.parametrize("case", [pytest.param(case, id=f"{case.wire}/{case.name}") for case in CASES])
def test_what_is_counted_is_what_is_sent_for_every_fixture(case: fixtures.Case) -> None:
    to, chat = fixtures.route(case), msgspec.convert(case.call["params"], Chat)
    try:
        whole = sent(to, chat)
    except SidecarError:
        with pytest.raises(SidecarError):
            counted(MODULES[case.wire], to, chat)
        return
    _, body = counted(MODULES[case.wire], to, chat)
    prompt = body.get("generateContentRequest", body)
    assert {name: value for name, value in prompt.items() if name != "model"} == {
        name: whole[name] for name in prompt if name != "model"
    }
    assert {"messages", "input", "contents"} & set(prompt)


# --- answers ---------------------------------------------------------------------------------

ANSWERS = {
    "anthropic_messages": {"input_tokens": 7},
    "openai_responses": {"object": "response.input_tokens", "input_tokens": 7},
    "gemini": {"totalTokens": 7, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 7}]},
    "bedrock_converse": {"inputTokens": 7},
    "xai": {"token_ids": [{"token_id": each, "string_token": "x", "token_bytes": [1]} for each in range(7)]},
}


@pytest.mark.parametrize("module", sorted(COUNTERS))
def test_the_count_is_read(module: str) -> None:
    counter = counters.load(module)
    assert counter.decode_count(json.dumps(ANSWERS[module]).encode()) == 7
    assert isinstance(counter.EXACT, bool)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(max_value=-1) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["input_tokens", "inputTokens", "totalTokens", "token_id"]), inner, max_size=3
        )
    ),
    max_leaves=5,
)


@pytest.mark.parametrize("module", sorted(COUNTERS))
@given(junk=JUNK)
def test_a_reply_without_a_count_is_a_provider_error(module: str, junk: Any) -> None:
    counter = counters.load(module)
    for body in (json.dumps(junk).encode(), b"<html>", b""):
        with pytest.raises(SidecarError) as caught:
            counter.decode_count(body)
        assert caught.value.body.code == "provider_error"
