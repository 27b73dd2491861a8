"""Bedrock's wire beyond its fixtures: the SDK's service model as an oracle, and unusual replies."""

import base64
import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ErrorBody
from protocol.messages import FilePart, ImagePart, Message, TextPart, ToolCallPart, ToolResultPart
from protocol.options import Options, ReasoningOptions
from protocol.replies import Chunk, Content
from protocol.requests import Chat
from sidecar.codecs.aws_eventstream import Codec
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest
from sidecar.wires import bedrock_converse
from sidecar.wires.bedrock_converse import Decoder, decoder, encode, make_whole_request
from sidecar.wires.bedrock_converse.turns import fit_id
from sidecar.wires.shared.types import ModelFacts, Route
from tests.support import fixtures
from tests.support.fixtures import Case

CASES = [pytest.param(case, id=case.path.name) for case in fixtures.cases("bedrock_converse")]
CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"


def route(model: str = CLAUDE, **fields: Any) -> Route:
    return Route(provider="bedrock", wire="bedrock_converse", model=model, base_url="https://provider.test", **fields)


def body_of(*messages: Message, options: Options | None = None, to: Route | None = None) -> Any:
    to = to or route()
    encoded = encode(Chat(model=to.model, messages=list(messages), options=options or Options()), to)
    return json.loads(encoded.request.body)


def user(*parts: Any) -> Message:
    return Message(role="user", content=list(parts))


def refusal(*messages: Message, options: Options | None = None) -> ErrorBody:
    with pytest.raises(SidecarError) as caught:
        body_of(*messages, options=options)
    return caught.value.body


def decoded(*events: tuple[str, Any]) -> tuple[list[Chunk], Decoder]:
    decoder, out = Decoder(route()), list[Chunk]()
    for name, payload in events:
        decoder.feed((name, json.dumps(payload).encode()), out)
    return out, decoder


# --- requests --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shapes() -> Any:
    from botocore.session import Session

    return Session().get_service_model("bedrock-runtime")


def with_bytes(value: Any) -> Any:
    """Return *value* as the SDK takes it: with bytes in place of their base64."""
    if isinstance(value, dict):
        blobs = {key: base64.b64decode(value[key]) for key in ("bytes", "redactedContent") if key in value}
        return {key: with_bytes(each) for key, each in value.items()} | blobs
    return [with_bytes(each) for each in value] if isinstance(value, list) else value


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_every_request_is_valid_by_the_service_model_of_the_sdk(case: Case, shapes: Any) -> None:
    from botocore.serialize import create_serializer
    from botocore.validate import ParamValidator

    body = case.expected_request["body"]
    params = with_bytes(body) | {"modelId": case.call["params"]["model"]}
    operation = shapes.operation_model("ConverseStream")
    report = ParamValidator().validate(params, operation.input_shape)
    assert not report.has_errors(), report.generate_report()
    theirs = create_serializer("rest-json").serialize_to_request(params, operation)
    assert json.loads(theirs["body"]) == body


def test_bytes_go_as_base64_as_the_sdk_sends_them() -> None:
    body = body_of(user(ImagePart(data=base64.b64encode(b"\x89PNG").decode(), media_type="image/png")))
    image = body["messages"][0]["content"][0]["image"]
    assert base64.b64decode(image["source"]["bytes"]) == b"\x89PNG"


def test_the_path_of_the_providers_table_goes_before_the_wires_own() -> None:
    chat = Chat(model="m", messages=[user(TextPart("Hi"))])
    assert encode(chat, route("m", path="/v2/m")).request.url == "https://provider.test/v2/m"
    assert (
        encode(chat, route("a/b:c d~_.-")).request.url
        == "https://provider.test/model/a%2Fb%3Ac%20d~_.-/converse-stream"
    )


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([user(ImagePart(url="https://pictures.test/a.png"))], "params.messages[0].content[0].url"),
        ([user(TextPart("x"), FilePart(url="https://papers.test/a.pdf"))], "params.messages[0].content[1].url"),
        ([user(ImagePart(data="AA==", media_type="image/tiff"))], "params.messages[0].content[0].media_type"),
        ([user(FilePart(data="AA==", media_type="application/zip"))], "params.messages[0].content[0].media_type"),
        ([user(ImagePart(data="AA=="))], "params.messages[0].content[0].media_type"),
        ([user(ImagePart())], "params.messages[0].content[0]"),
        (
            [Message(role="assistant", content=[ImagePart(data="AA==", media_type="image/png")])],
            "params.messages[0].content[0]",
        ),
        (
            [Message(role="tool", content=[ToolResultPart("1", [ImagePart(url="https://pictures.test/a.png")])])],
            "params.messages[0].content[0].content[0].url",
        ),
        ([Message(role="system", content="Be brief.")], "params.messages"),
        ([user(TextPart(" \n"))], "params.messages"),
    ],
)
def test_content_that_the_api_cannot_carry_is_refused_with_its_path(messages: list[Message], param: str) -> None:
    error = refusal(*messages)
    assert (error.code, error.param) == ("invalid_request", param)
    assert "pictures.test" not in error.message


@pytest.mark.parametrize("name", ["get.weather", "a" * 65, "a/b"])
def test_a_tool_that_the_api_would_refuse_is_refused_with_its_path(name: str) -> None:
    options = msgspec.convert({"tools": [{"name": "fine"}, {"name": name}]}, Options)
    assert refusal(user(TextPart("Hi")), options=options).param == "params.options.tools[1].name"


@given(st.lists(st.text(max_size=300), max_size=6))
def test_document_names_keep_to_their_alphabet_and_differ(names: list[str]) -> None:
    files = [FilePart(data="AA==", name=name) for name in names if "\0" not in name]
    body = body_of(user(TextPart("Read."), *files))
    made = [block["document"]["name"] for block in body["messages"][0]["content"] if "document" in block]
    assert len(set(made)) == len(made) == len(files)
    assert all(
        re.fullmatch(r"[A-Za-z0-9()\[\]-]+(?: [A-Za-z0-9()\[\]-]+)*", name) and len(name) <= 200 for name in made
    )


def test_a_document_keeps_its_name_when_the_conversation_goes_on() -> None:
    first = user(TextPart("Read."), FilePart(data="AA==", name="a"), FilePart(data="AQ==", name="a"))
    again = [first, Message(role="assistant", content="Yes."), user(TextPart("And"), FilePart(data="Ag==", name="a"))]
    assert body_of(*again)["messages"][0] == body_of(first)["messages"][0]
    assert body_of(*again)["messages"][2]["content"][1]["document"]["name"] == "a (3)"


@given(st.lists(st.text(max_size=512), unique=True, max_size=5))
def test_call_ids_keep_to_their_alphabet_and_differ(ids: list[str]) -> None:
    made = [fit_id(each) for each in ids]
    assert all(re.fullmatch(r"[a-zA-Z0-9_.:-]{1,64}", each) for each in made)
    assert len(set(made)) == len(made)
    assert [fit_id(each) for each in made] == made


def test_a_call_and_its_result_have_the_same_id_whatever_it_was() -> None:
    asked = Message(role="assistant", content=[ToolCallPart(id="fc_1|ctx é", name="look", arguments={})])
    body = body_of(user(TextPart("Go")), asked, Message(role="tool", content=[ToolResultPart("fc_1|ctx é", "ok")]))
    call, result = body["messages"][1]["content"][0], body["messages"][2]["content"][0]
    assert call["toolUse"]["toolUseId"] == result["toolResult"]["toolUseId"]


def test_provider_options_are_laid_over_the_body_and_not_changed() -> None:
    given_options = {"inferenceConfig": {"maxTokens": 5}, "promptVariables": {"a": {"text": "b"}}}
    options = Options(max_tokens=9, temperature=0.1, provider_options=given_options)
    body = body_of(user(TextPart("Hi")), options=options)
    assert body["inferenceConfig"] == {"maxTokens": 5, "temperature": 0.1}
    assert body["promptVariables"] == {"a": {"text": "b"}}
    assert given_options["inferenceConfig"] == {"maxTokens": 5}


@pytest.mark.parametrize(
    ("max_tokens", "max_output", "wanted", "budget"),
    [
        (4000, None, ReasoningOptions(budget_tokens=2000), 2000),
        (4000, 64000, ReasoningOptions(budget_tokens=9000), 3999),
        (None, 8192, ReasoningOptions(effort="max"), 8191),
        (None, None, ReasoningOptions(effort="high"), 16384),
        (None, None, ReasoningOptions(budget_tokens=1), 1024),
        (1024, None, ReasoningOptions(effort="low"), None),
    ],
)
def test_a_thinking_budget_stays_below_the_output_limit(
    max_tokens: int | None, max_output: int | None, wanted: ReasoningOptions, budget: int | None
) -> None:
    facts = ModelFacts(reasoning=True, thinking="budget", max_output=max_output)
    body = body_of(
        user(TextPart("Hi")), options=Options(max_tokens=max_tokens, reasoning=wanted), to=route(facts=facts)
    )
    thinking = {"thinking": {"type": "enabled", "budget_tokens": budget}}
    assert body.get("additionalModelRequestFields") == (thinking if budget else None)


@pytest.mark.parametrize("model", ["us.anthropic.claude-opus-5-5", "us.amazon.nova-lite-v1:0", "mistral.large"])
def test_there_are_never_more_cache_points_than_the_api_allows(model: str) -> None:
    turns = [Message(role=role, content="x") for _ in range(6) for role in ("user", "assistant")]
    options = msgspec.convert({"cache": "auto", "tools": [{"name": "look"}]}, Options)
    body = body_of(Message(role="system", content="s"), *turns, options=options, to=route(model))
    assert json.dumps(body).count("cachePoint") == {"us": 4, "mi": 0}[model[:2]] - ("nova" in model)


def test_a_streaming_request_becomes_one_for_a_whole_reply() -> None:
    options = Options(
        provider_options={"guardrailConfig": {"guardrailIdentifier": "g", "streamProcessingMode": "sync"}}
    )
    request = encode(Chat(model="a/converse-stream", messages=[user(TextPart("Hi"))], options=options), route()).request
    whole = make_whole_request(request)
    assert whole.url == request.url.removesuffix("-stream")
    assert json.loads(whole.body)["guardrailConfig"] == {"guardrailIdentifier": "g"}
    assert make_whole_request(whole) == whole
    plain = HttpRequest(method="POST", url="https://provider.test/model/m/converse-stream?x=1", headers={}, body=b"{}")
    assert make_whole_request(plain) == msgspec.structs.replace(plain, url="https://provider.test/model/m/converse?x=1")


# --- replies ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["thinking_budget", "redacted", "tools_parallel", "server_tools"])
def test_the_message_of_an_answer_goes_back_as_the_blocks_that_it_came_in(name: str) -> None:
    (case,) = [case for case in fixtures.cases("bedrock_converse") if case.path.name == name]
    done = case.expected[-1]
    message = msgspec.convert(done["message"], Message)
    model = case.call["params"]["model"]
    (turn,) = [
        turn
        for turn in body_of(user(TextPart("Hi")), message, to=route(model))["messages"]
        if turn["role"] == "assistant"
    ]
    assert turn["content"] == [block for block in as_streamed(case.body) if "image" not in block]


def as_streamed(body: bytes) -> list[dict[str, Any]]:
    """Return the blocks of a stream, assembled as AWS's documentation says."""
    blocks: dict[int, dict[str, Any]] = {}
    for name, data in Codec().feed(body):
        payload = json.loads(data)
        block = blocks.setdefault(payload.get("contentBlockIndex", -1), {})
        if name == "contentBlockStart":
            block |= payload["start"]
        elif name == "contentBlockDelta":
            _add(block, payload["delta"])
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"].get("input") or "{}")
            if block["toolUse"].get("type") == "tool_use":
                del block["toolUse"]["type"]
    return [block for index, block in blocks.items() if index >= 0]


def _add(block: dict[str, Any], delta: dict[str, Any]) -> None:
    ((kind, value),) = delta.items()
    if kind == "text":
        block["text"] = block.get("text", "") + value
    elif kind == "toolUse":
        block["toolUse"]["input"] = block["toolUse"].get("input", "") + value["input"]
    elif kind == "toolResult":
        block["toolResult"]["content"] = block["toolResult"].get("content", []) + value
    elif kind == "reasoningContent" and "redactedContent" in value:
        known = base64.b64decode(block.get("reasoningContent", {}).get("redactedContent", ""))
        whole = base64.b64encode(known + base64.b64decode(value["redactedContent"])).decode()
        block["reasoningContent"] = {"redactedContent": whole}
    elif kind == "reasoningContent":
        thought = block.setdefault("reasoningContent", {"reasoningText": {}})["reasoningText"]
        for key, piece in value.items():
            thought[key] = thought.get(key, "") + piece


def test_blocks_without_a_stop_are_separated_by_their_index() -> None:
    _, decoder = decoded(
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "one"}}),
        ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "two"}}),
        ("messageStop", {"stopReason": "end_turn"}),
    )
    assert decoder.end([]).message.content == [TextPart("one"), TextPart("two")]


def test_metadata_ends_a_stream_only_after_the_stop() -> None:
    usage = {"usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}}
    _, decoder = decoded(("messageStart", {"role": "assistant"}), ("metadata", usage))
    assert not decoder.finished
    _, decoder = decoded(("messageStop", {"stopReason": "end_turn"}))
    assert not decoder.finished
    _, decoder = decoded(("messageStop", {"stopReason": "end_turn"}), ("metadata", usage))
    assert decoder.finished


@pytest.mark.parametrize(
    ("reason", "expected"), [*decoder.FINISH_REASONS.items(), ("something_new", "other"), (None, "other")]
)
def test_a_stop_reason_is_given_in_our_word_and_in_theirs(reason: str | None, expected: str) -> None:
    _, decoder = decoded(("messageStop", {"stopReason": reason}))
    outcome = decoder.end([])
    assert (outcome.finish_reason, outcome.provider_finish_reason) == (expected, reason)


def test_all_stop_reasons_of_the_service_model_are_known(shapes: Any) -> None:
    assert set(shapes.shape_for("StopReason").enum) <= set(decoder.FINISH_REASONS)


def test_an_unknown_event_is_skipped_unread() -> None:
    decoder, out = Decoder(route()), list[Chunk]()
    decoder.feed(("somethingNew", b"\xff not JSON"), out)
    assert out == []


def test_an_event_that_cannot_be_read_keeps_what_came_before_it() -> None:
    decoder, out = Decoder(route()), list[Chunk]()
    decoder.feed(("contentBlockDelta", b'{"delta":{"text":"good"}}'), out)
    with pytest.raises(SidecarError) as caught:
        decoder.feed(("contentBlockDelta", b'{"delta":'), out)
    assert caught.value.body.reason == "bad_event"
    assert out == [Content("good")]


KEYS = st.sampled_from(
    [
        *("contentBlockIndex", "start", "delta", "text", "toolUse", "toolUseId", "name", "type", "input", "image"),
        *("reasoningContent", "signature", "redactedContent", "reasoningText", "citationsContent", "citations"),
        *("citation", "sourceContent", "location", "web", "url", "toolResult", "content", "source", "bytes"),
        *("stopReason", "usage", "inputTokens", "cacheDetails", "ttl", "trace", "promptRouter", "invokedModelId"),
        *("output", "message", "__type"),
    ]
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
EVENTS = st.sampled_from(
    ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"]
)
PAYLOADS = st.dictionaries(KEYS, JSON, max_size=5) | JSON


@given(st.lists(st.tuples(EVENTS, PAYLOADS), max_size=8))
def test_any_stream_gives_chunks_or_a_sidecar_error(events: list[tuple[str, Any]]) -> None:
    decoder, out = Decoder(route()), list[Chunk]()
    try:
        for name, payload in events:
            decoder.feed((name, json.dumps(payload).encode()), out)
        outcome = decoder.end(out)
    except SidecarError as error:
        msgspec.json.encode(error.body)
    else:
        msgspec.json.encode(outcome)
    msgspec.json.encode(out)


@given(PAYLOADS)
def test_any_document_gives_chunks_or_a_sidecar_error(document: Any) -> None:
    try:
        decoder, out = bedrock_converse.decode_whole(json.dumps(document).encode(), route())
        decoder.end(out)
    except SidecarError as error:
        msgspec.json.encode(error.body)
    else:
        msgspec.json.encode(out)
