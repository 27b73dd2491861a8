"""Null and `[]` as many languages write them, and fields that do not exist: taken, and told."""

import json
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from protocol.messages import TextPart, ToolCallPart, ToolResultPart
from protocol.options import Options
from protocol.requests import PARAMS, Chat
from sidecar.core.errors import SidecarError
from sidecar.server.framing import decode_params
from sidecar.server.unknown_fields import find_likely_place
from tests.support import app
from tests.support.lines import Object

pytestmark = pytest.mark.long

CHAT: Object = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
REQUIRED: dict[str, Object] = {
    "stream_chat": CHAT,
    "generate": CHAT,
    "resume": CHAT | {"method": "restart"},
    "compare": {"models": ["m", "n"], "messages": CHAT["messages"]},
    "count_tokens": {"model": "m"},
    "fit": CHAT,
    "embed": {"model": "m", "inputs": ["a"]},
    "complete": {"model": "m", "prefix": "a"},
    "stream_complete": {"model": "m", "prefix": "a"},
    "rerank": {"model": "m", "query": "q", "documents": ["a"]},
    "calculate_cost": {"model": "m", "usage": {}},
    "authenticate": {"op": "status"},
    "apply_edit": {"text": "a"},
    "set_task": {"task": "title"},
    "tool_result": {"id": 1, "stop": True},
    "cancel": {"id": 1},
    "forget": {"scope": "s"},
}


def optional_fields(kind: type[msgspec.Struct]) -> list[str]:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return [field.encode_name for field in info.fields if not field.required]


@pytest.mark.parametrize("action", PARAMS)
def test_null_is_absent_in_every_optional_field(action: str) -> None:
    kind, params = PARAMS[action], REQUIRED.get(action, {})
    absent = decode_params(json.dumps(params).encode(), kind)
    # A chat needs its model and messages, except where a task has them.
    nulls = dict.fromkeys(optional_fields(kind)) | params
    assert decode_params(json.dumps(nulls).encode(), kind) == absent


@pytest.mark.parametrize("field", optional_fields(Options))
def test_null_is_absent_in_every_option(field: str) -> None:
    assert decode_params(json.dumps(CHAT | {"options": {field: None}}).encode(), Chat).options == Options()


@pytest.mark.parametrize("part", [TextPart("a"), ToolResultPart("a"), ToolCallPart(id="a", name="b")])
def test_null_is_absent_in_every_optional_field_of_a_part(part: msgspec.Struct) -> None:
    sent = msgspec.to_builtins(part) | dict.fromkeys(optional_fields(type(part)))
    chat = decode_params(json.dumps(CHAT | {"messages": [{"role": "user", "content": [sent]}]}).encode(), Chat)
    assert chat.messages[0].content == [part]


def test_a_null_where_something_is_required_is_refused() -> None:
    with pytest.raises(SidecarError) as caught:
        decode_params(json.dumps(CHAT | {"model": None}).encode(), Chat)
    assert caught.value.body.param == "params.model"


@pytest.mark.parametrize("absent", [b"null", b"[]", b"{}"])
def test_params_may_be_null_or_an_empty_list_where_nothing_is_required(absent: bytes) -> None:
    assert decode_params(absent, PARAMS["initialize"]) == PARAMS["initialize"]()
    with pytest.raises(SidecarError, match=r"`params\.model` is required"):
        decode_params(absent, Chat)


def test_an_empty_list_is_an_empty_object_where_only_an_object_fits() -> None:
    call = {"type": "tool_call", "id": "1", "name": "f", "arguments": []}
    sent = {
        "model": "m",
        "messages": [{"role": "assistant", "content": [call]}],
        "options": {"reasoning": [], "provider_options": [], "tools": [{"name": "f", "parameters": []}], "stop": []},
        "settings": {"deployments": []},
    }
    chat = decode_params(json.dumps(sent).encode(), Chat)
    assert chat.messages[0].content == [ToolCallPart(id="1", name="f", arguments={})]
    assert (chat.options.provider_options, chat.options.tools[0].parameters, chat.options.stop) == ({}, {}, [])
    assert decode_params(json.dumps(CHAT | {"options": []}).encode(), Chat).options == Options()


@pytest.mark.parametrize("change", [{"messages": [[]]}, {"options": [1]}, {"options": {"temperature": []}}])
def test_any_other_list_for_an_object_is_refused(change: Object) -> None:
    with pytest.raises(SidecarError):
        decode_params(json.dumps(CHAT | change).encode(), Chat)


def test_what_is_opaque_keeps_its_nulls() -> None:
    schema = {"default": None, "enum": [None], "required": []}
    sent = CHAT | {"api_key": None, "options": {"tools": [{"name": "f", "parameters": schema, "strict": None}]}}
    sent["options"]["fallbacks"] = None
    chat = decode_params(json.dumps(sent).encode(), Chat)
    assert chat.options.tools[0].parameters == schema


@pytest.mark.parametrize(
    ("path", "likely"),
    [
        ("params.max_tokens", "params.options.max_tokens"),
        ("max_tokens", "params.options.max_tokens"),
        ("params.options.max_completion_tokens", "params.options.max_tokens"),
        ("params.timeout", "timeout"),
        ("messages", "params.messages"),
        ("params.options.temprature", "params.options.temperature"),
        ("params.reasoning_effort", "params.options.reasoning.effort"),
        ("params.messages[0].model", None),
        ("params.options.output.tolerance", None),
        ("params.options.nothing_like_it", None),
    ],
)
def test_the_likely_place_of_a_field_is_named(path: str, likely: str | None) -> None:
    assert find_likely_place("stream_chat", path) == likely


HELLO: Object = {"model": "default", "messages": [{"role": "user", "content": "Hi"}]}


async def test_start_and_done_tell_of_unknown_fields_and_of_three_at_most() -> None:
    async with app.running() as host:
        params = HELLO | {"max_tokens": 5, "options": {"temprature": 1, "api_key": None}, "x": "CANARY", "y": 1}
        lines = await host.read_reply(host.send("stream_chat", params, provider="replay", z=1))
        for chunk in (lines[0]["data"], lines[-1]["data"]):
            assert [(each["code"], each["param"]) for each in chunk["warnings"]] == [
                ("unknown_field", "z"),
                ("unknown_field", "params.max_tokens"),
                ("unknown_field", "params.options.temprature"),
            ]
            assert "Did you mean `params.options.max_tokens`?" in chunk["warnings"][1]["message"]


@pytest.mark.parametrize(
    ("action", "params"),
    [("generate", HELLO), ("count_tokens", {"model": "m", "text": "a"}), ("list_models", {}), ("list_tasks", {})],
)
async def test_an_answer_in_one_line_tells_of_unknown_fields(action: str, params: Object) -> None:
    async with app.running() as host:
        answer = await host.ask(action, params | {"unheard": 1}, provider="replay")
        assert [each["param"] for each in answer["data"]["warnings"]] == ["params.unheard"]


@pytest.mark.parametrize(("action", "params"), [("ping", {}), ("list_providers", {})])
async def test_an_answer_without_warnings_tells_of_unknown_fields_in_an_event(action: str, params: Object) -> None:
    async with app.running() as host:
        await host.ask("initialize", {"events": ["warnings"]})
        assert (await host.ask(action, params | {"unheard": 1}))["success"]
        await host.ask("ping")
        events = [line["data"] for line in host.lines if "event" in line]
        assert [event["param"] for event in events] == ["params.unheard"]


async def test_a_strict_host_may_send_nulls_and_empty_lists() -> None:
    async with app.running() as host:
        await host.ask("initialize", {"strict": True, "events": None})
        assert (await host.ask("ping", None, timeout=None, unheard=None))["success"]
        params: dict[str, Any] = HELLO | {"options": {"tools": None, "unheard": None}, "settings": []}
        assert (await host.ask("generate", params, provider="replay"))["success"]
        refused = await host.ask("generate", params | {"unheard": 1}, provider="replay")
        assert refused["error"]["param"] == "params.unheard"
