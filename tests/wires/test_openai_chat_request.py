"""Requests of Chat Completions beyond the fixtures."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.requests import Chat
from sidecar.core.errors import SidecarError
from sidecar.wires import openai_chat, registry
from tests.support import fixtures
from tests.support.openai_chats import body_of, route_to

STANDARD = [case for case in fixtures.cases("openai_chat") if case.call["provider"] == "openai"]


@pytest.mark.long
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in STANDARD])
def test_the_sdk_of_the_provider_knows_every_field_of_a_request(case: fixtures.Case) -> None:
    from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
    from pydantic import TypeAdapter

    body = fixtures.request(case)["body"]
    adapter: TypeAdapter[Any] = TypeAdapter(CompletionCreateParamsStreaming)
    assert unwound(adapter.validate_python(body)) == body


def unwound(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: unwound(each) for name, each in value.items()}
    return value if value is None or isinstance(value, str | int | float) else [unwound(each) for each in value]


@pytest.mark.parametrize(
    ("taken", "asked", "sent"),
    [
        ((), "max", "max"),
        (("low", "high"), "high", "high"),
        (("low", "high"), "max", "high"),
        (("low", "high"), "minimal", "low"),
        (("none", "default"), "high", "default"),
        (("none", "default"), "none", "none"),
        (("low", "high"), "none", None),
        (("none",), "high", None),
    ],
)
def test_an_effort_that_the_model_lacks_becomes_the_nearest_one_with_a_warning(
    taken: tuple[str, ...], asked: str, sent: str | None
) -> None:
    body = body_of(to=route_to(facts={"efforts": taken}), reasoning={"effort": asked})
    assert body.get("reasoning_effort") == sent
    assert body["warned"] == ([] if sent == asked else ["params.options.reasoning.effort"])


@pytest.mark.parametrize(
    ("wanted", "sent"),
    [
        ({"effort": "low"}, {"effort": "low"}),
        ({"effort": "low", "budget_tokens": 900}, {"max_tokens": 900}),
        ({"effort": "none", "budget_tokens": 900}, {"enabled": False}),
        ({}, {"enabled": True}),
        ({"include": False}, {"enabled": True, "exclude": True}),
    ],
)
def test_reasoning_is_asked_for_as_an_object_where_the_column_says_so(
    wanted: dict[str, Any], sent: dict[str, Any]
) -> None:
    assert body_of(to=route_to(quirks={"reasoning_option": "reasoning"}), reasoning=wanted)["reasoning"] == sent


@pytest.mark.parametrize(
    ("option", "value", "facts", "gone"),
    [
        ("temperature", 0, {"sampling": False}, "temperature"),
        ("top_p", 0.5, {"refuses": {"top_p"}}, "top_p"),
        ("stop", ["a"], {"refuses": {"stop"}}, "stop"),
        ("max_tokens", 5, {"refuses": {"max_tokens"}}, "max_completion_tokens"),
        ("tools", [{"name": "f"}], {"refuses": {"tools"}}, "tools"),
        ("response_format", {"type": "json"}, {"refuses": {"response_format"}}, "response_format"),
        ("reasoning", {"effort": "low"}, {"reasoning": False}, "reasoning_effort"),
    ],
)
def test_an_option_is_left_out_with_a_warning_only_where_it_is_known_to_be_refused(
    option: str, value: Any, facts: dict[str, Any], gone: str
) -> None:
    assert gone in body_of(**{option: value})
    body = body_of(to=route_to(facts=facts), **{option: value})
    assert gone not in body
    assert body["warned"] == [f"params.options.{option}"]


@pytest.mark.parametrize("wire", ["openai_chat", "openai_responses"])
@pytest.mark.parametrize(
    ("text", "wanted", "is_added"),
    [
        ("List three.", {"type": "json"}, True),
        ("List three as JSON.", {"type": "json"}, False),
        ("List three.", {"type": "json_schema", "schema": {"type": "object"}}, False),
        ("List three.", {"type": "text"}, False),
    ],
)
def test_plain_json_gets_the_word_that_the_api_requires(
    wire: str, text: str, wanted: dict[str, Any], is_added: bool
) -> None:
    given = {"model": "m", "messages": [{"role": "user", "content": text}], "options": {"response_format": wanted}}
    built = registry.load(wire).encode(msgspec.convert(given, Chat), route_to())
    body = msgspec.json.decode(built.request.body)
    first = (body.get("messages") or body["input"])[0]
    assert (first["role"] == "system", "JSON" in msgspec.json.encode(first).decode()) == (
        is_added,
        is_added or "JSON" in text,
    )
    assert not built.warnings


def test_messages_are_marked_for_the_cache_where_the_column_says_so() -> None:
    mark = {"mark": {"type": "ephemeral"}}
    roles = ["system", "system", "user", "assistant", "user", "assistant", "tool", "tool", "user"]
    call = {"type": "tool_call", "id": "c", "name": "f", "arguments": {}}
    result = {"type": "tool_result", "id": "c", "content": [{"type": "text", "text": "r"}]}
    contents: dict[int, Any] = {5: [call, call | {"id": "d"}], 6: [result], 7: [result | {"id": "d"}]}
    messages = [{"role": role, "content": contents.get(at, f"text {at}")} for at, role in enumerate(roles)]
    for cache, marked in (("auto", [1, 4, 7, 8]), ("off", [])):
        given = {"model": "m", "messages": messages, "options": {"cache": cache}}
        built = openai_chat.encode(msgspec.convert(given, Chat), route_to(quirks={"cache_mark": "mark"}))
        sent = msgspec.json.decode(built.request.body)["messages"]
        assert [each["role"] for each in sent] == roles
        assert [at for at, each in enumerate(sent) if mark.items() <= each.items()] == marked


def test_what_belongs_to_tools_is_not_sent_without_them() -> None:
    assert not {"tool_choice", "parallel_tool_calls"} & body_of(tool_choice="none", parallel_tool_calls=False).keys()


def test_the_path_of_the_route_replaces_the_usual_one() -> None:
    chat = msgspec.convert({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}, Chat)
    to = route_to(path="/deployments/d/chat/completions?api-version=2024-10-21", headers={"x-title": "T"})
    built = openai_chat.encode(chat, to).request
    assert built.url == "https://provider.test/v1/deployments/d/chat/completions?api-version=2024-10-21"
    assert built.headers == {"content-type": "application/json", "x-title": "T"}


@given(st.text(max_size=64))
def test_ids_of_nine_letters_and_digits_are_made_the_same_for_call_and_result(call_id: str) -> None:
    messages = [
        {"role": "assistant", "content": [{"type": "tool_call", "id": call_id, "name": "f"}]},
        {"role": "tool", "content": [{"type": "tool_result", "id": call_id, "content": "x"}]},
    ]
    turns = body_of(messages, route_to(quirks={"tool_ids": "nine"}))["messages"]
    sent = turns[0]["tool_calls"][0]["id"]
    assert turns[1]["tool_call_id"] == sent
    assert len(sent) == 9
    assert sent.isascii()
    assert sent.isalnum()


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "system", "content": [{"type": "image", "url": "https://a.test"}]}, "content[0]"),
        ({"role": "user", "content": [{"type": "reasoning", "content": "x"}]}, "content[0]"),
        ({"role": "user", "content": [{"type": "file", "url": "https://a.test/b.pdf"}]}, "content[0].url"),
        ({"role": "assistant", "content": [{"type": "image", "url": "https://a.test"}]}, "content[0]"),
    ],
)
def test_content_that_the_api_cannot_carry_is_refused_with_its_path(message: dict[str, Any], param: str) -> None:
    with pytest.raises(SidecarError) as raised:
        body_of([message])
    assert raised.value.body.code == "invalid_request"
    assert raised.value.body.param == f"params.messages[0].{param}"
