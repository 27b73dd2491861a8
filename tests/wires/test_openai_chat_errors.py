"""Errors of Chat Completions and its imitations, in the shapes of each."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ErrorCode
from protocol.replies import Chunk
from sidecar.core.errors import SidecarError
from sidecar.wires import openai_chat
from tests.support.openai_chats import DONE, delta, played, route_to

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)

KEYS = (
    *("choices", "delta", "message", "content", "type", "text", "thinking", "summary", "index", "id", "model", "usage"),
    *("error", "code", "metadata", "raw", "detail", "msg", "x_y", "finish_reason", "tool_calls", "function", "name"),
    *("arguments", "function_call", "reasoning", "reasoning_opaque", "reasoning_details", "refusal", "annotations"),
    *("url_citation", "url", "citations", "status_code", "object", "errors", "prompt_tokens", "completion_tokens"),
    *("cost", "param", "extra_content", "thought_signature", "completion_tokens_details"),
)
SHAPED = st.recursive(
    JSON, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
)
"""JSON that looks almost like a reply."""


@pytest.mark.parametrize(
    ("event", "code", "message", "word"),
    [
        ({"error": {"message": "no", "type": "server_error", "code": None}}, "provider_error", "no", "server_error"),
        ({"error": "text"}, "provider_error", "text", None),
        ({"error": {"message": "over", "code": 503}}, "provider_overloaded", "over", "503"),
        ({"error": {"message": "bad", "code": "502"}, "choices": []}, "provider_error", "bad", "502"),
        ({"error": {"message": "slow", "code": "rate_limit_exceeded"}}, "rate_limited", "slow", "rate_limit_exceeded"),
        ({"error": {"message": "busy", "type": "overloaded_error"}}, "provider_overloaded", "busy", "overloaded_error"),
        ({"error": {"id": "", "message": "x", "code": ""}, "status_code": 429}, "rate_limited", "x", "429"),
        ({"object": "error", "message": "flat", "code": 400}, "invalid_request", "flat", "400"),
        ({"x_ours": {"id": "r", "error": "inner"}, "choices": []}, "provider_error", "inner", None),
        ({"choices": [{"error": {"code": 402, "message": "pay"}}]}, "quota_exceeded", "pay", "402"),
        ({"error": {"message": {"detail": [{"msg": "deep"}]}}}, "provider_error", "deep", None),
        ({"error": True}, "provider_error", "The provider failed.", None),
    ],
)
def test_an_error_inside_a_stream_ends_it_whatever_its_shape(
    event: dict[str, Any], code: ErrorCode, message: str, word: str | None
) -> None:
    with pytest.raises(SidecarError) as raised:
        played(delta(content="before"), event, DONE)
    error = raised.value.body
    assert (error.code, error.message, error.provider_code, error.provider_status) == (code, message, word, None)
    whole = json.dumps(event).encode()
    with pytest.raises(SidecarError) as raised:
        openai_chat.decode_whole(whole, route_to())
    assert raised.value.body == error
    assert openai_chat.classify(0, {}, whole).body == error


@pytest.mark.parametrize("error", [None, {}, "", {"code": "", "message": ""}, []])
def test_an_empty_error_is_not_an_error(error: Any) -> None:
    event = delta(content="fine") | {"error": error}
    assert played(event, DONE)[1].finish_reason == "stop"


def test_an_event_named_error_is_an_error() -> None:
    decoder = openai_chat.Decoder(route_to())
    with pytest.raises(SidecarError) as raised:
        decoder.feed(("error", b'{"message":"gone","code":"model_overloaded"}'), [])
    assert raised.value.body.code == "provider_overloaded"


@pytest.mark.parametrize(
    ("status", "body", "code", "word"),
    [
        (400, {"error": {"code": "content_filter", "innererror": {"code": "x"}}}, "content_filtered", "content_filter"),
        (
            400,
            {"error": {"code": "400", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
            "content_filtered",
            "ResponsibleAIPolicyViolation",
        ),
        (400, {"error": {"code": "tool_use_failed", "failed_generation": "{"}}, "provider_error", "tool_use_failed"),
        (400, [{"error": {"code": 400, "message": "API key not valid."}}], "auth_failed", "400"),
        (
            400,
            {
                "error": {
                    "code": 400,
                    "message": "exceeds the available context size",
                    "type": "exceed_context_size_error",
                }
            },
            "context_length_exceeded",
            "exceed_context_size_error",
        ),
        (401, {"statusCode": 401, "message": "Access denied"}, "auth_failed", None),
        (402, {"error": {"message": "Insufficient credits", "code": 402}}, "quota_exceeded", "402"),
        (402, {"error": {"message": "wait", "code": "in_flight_budget"}}, "rate_limited", "in_flight_budget"),
        (
            403,
            {"error": {"code": 403, "message": "x", "metadata": {"flagged_input": "y"}}},
            "content_filtered",
            "flagged_input",
        ),
        (403, {"error": {"message": "You do not have access to model `x`"}}, "model_not_found", None),
        (
            413,
            {"error": {"message": "Request too large for model", "type": "tokens"}},
            "context_length_exceeded",
            "tokens",
        ),
        (422, {"detail": "nothing of the kind"}, "invalid_request", None),
        (
            429,
            {"error": {"code": "user_model_rate_limited:gpt", "message": "x"}},
            "rate_limited",
            "user_model_rate_limited:gpt",
        ),
        (
            429,
            {"message": "too many tokens processed", "code": "token_quota_exceeded"},
            "rate_limited",
            "token_quota_exceeded",
        ),
        (
            429,
            {"error": {"type": "insufficient_quota", "code": "insufficient_quota"}},
            "quota_exceeded",
            "insufficient_quota",
        ),
        (500, {"success": False, "errors": [{"code": 5007, "message": "No such model"}]}, "model_not_found", "5007"),
        (503, {"error": {"code": "slow_down", "type": "service_unavailable_error"}}, "rate_limited", "slow_down"),
        (504, None, "provider_error", None),
    ],
)
def test_the_machine_codes_of_an_http_error_go_first(status: int, body: Any, code: ErrorCode, word: str | None) -> None:
    error = openai_chat.classify(status, {}, json.dumps(body).encode()).body
    assert (error.code, error.provider_code, error.provider_status) == (code, word, status)


def test_the_message_of_an_upstream_is_passed_on() -> None:
    raw = {"error": {"code": 502, "message": "Provider returned error", "metadata": {"raw": "prompt is too long"}}}
    error = openai_chat.classify(400, {}, json.dumps(raw).encode()).body
    assert error.message == "Provider returned error: prompt is too long"
    assert error.code == "context_length_exceeded"


@pytest.mark.parametrize(
    "body", [b"", b"plain text", b"[]", b'"x"', b"{}", b'{"choices":[]}', b'{"choices":5}', b"{" * 9000]
)
def test_a_document_that_is_not_a_completion_is_refused(body: bytes) -> None:
    with pytest.raises(SidecarError) as raised:
        openai_chat.decode_whole(body, route_to())
    assert raised.value.body.reason == "unexpected_content_type"


@pytest.mark.parametrize("data", [b"{", b"null", b"5", b'{"choices":{}}', b"\xff", b"[DONE", b"[" * 9000])
def test_an_event_that_cannot_be_read_is_an_error(data: bytes) -> None:
    with pytest.raises(SidecarError) as raised:
        played(delta(content="x"), data)
    assert raised.value.body.reason == "bad_event"


@given(status=st.integers(100, 599), raw=SHAPED)
def test_any_body_with_any_status_is_classified(status: int, raw: Any) -> None:
    error = openai_chat.classify(status, {}, json.dumps(raw).encode()).body
    assert error.provider_status == status
    assert len(error.message) <= 500


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects that have some of *fields*."""
    return st.fixed_dictionaries({}, optional=fields)


FUNCTION = some(name=SHAPED, arguments=SHAPED, thought_signature=SHAPED)
CALL = some(index=JSON | st.integers(0, 2), id=JSON | st.sampled_from("ab"), type=JSON, function=FUNCTION)
DELTA = some(
    **{name: SHAPED for name in KEYS if name not in ("tool_calls", "function_call")},
    tool_calls=st.lists(st.none() | CALL, max_size=3),
    function_call=FUNCTION,
)
CHUNK = some(
    choices=st.lists(st.none() | some(index=JSON, delta=DELTA, message=DELTA, finish_reason=JSON), max_size=2),
    **dict.fromkeys(("id", "model", "usage", "citations", "x_y"), SHAPED),
)


@pytest.mark.long
@given(events=st.lists(CHUNK, max_size=4), echo=st.sampled_from(["", "reasoning_text", "reasoning_details"]))
def test_no_event_makes_the_decoder_raise_an_undocumented_error(events: list[dict[str, Any]], echo: str) -> None:
    decoder, out = openai_chat.Decoder(route_to(quirks={"reasoning_echo": echo})), list[Chunk]()
    try:
        for event in events:
            decoder.feed(("", json.dumps(event).encode()), out)
    except SidecarError as error:
        # Only an extension can say that something went wrong here.
        assert error.body.reason is None  # noqa: PT017
        assert any("x_y" in event for event in events)
        return
    decoder.feed(("", DONE), out)
    outcome = decoder.end(out)
    assert msgspec.json.encode([out, outcome, decoder.usage])
