"""A provider's report of an error → a code: when to retry, ids, and the rows of each provider's documentation."""

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import ErrorCode
from sidecar.core.errors import RETRYABLE, SidecarError, clean_text
from sidecar.wires import registry
from sidecar.wires.shared.error_rules import (
    STATUS_RULES,
    ReportedError,
    Rule,
    classify_error,
    list_codes,
    read_plain_text,
)
from sidecar.wires.shared.reply_headers import MAX_RETRY_AFTER_MS, read_request_id, read_retry_after_ms
from sidecar.wires.shared.types import Route
from tests.support.decoding import play

ROUTE = Route(provider="anthropic", wire="anthropic_messages", model="m", base_url="https://provider.test")
NOW = "Wed, 04 Nov 2026 09:00:00 GMT"

# --- retry-after -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "wait_ms"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2000),
        ({"retry-after": " 2 "}, 2000),
        ({"retry-after": "0.25"}, 250),
        ({"retry-after": "86400"}, 86_400_000),
        ({"retry-after-ms": "1500"}, 1500),
        ({"retry-after-ms": "1500.2"}, 1501),
        ({"retry-after-ms": "0.4"}, 1),
        ({"x-ms-retry-after-ms": "700"}, 700),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1500),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9000),
        ({"retry-after-ms": "-1", "retry-after": "9"}, 9000),
        ({"retry-after": "Wed, 04 Nov 2026 09:00:03 GMT", "date": NOW}, 3000),
        ({"retry-after": "Wed, 04 Nov 2026 10:00:03 +0100", "date": NOW}, 3000),
        ({"retry-after": "Wed, 04 Nov 2026 08:59:00 GMT", "date": NOW}, None),
        ({"retry-after": NOW, "date": NOW}, None),
        ({"retry-after": "Wed, 04 Nov 2026 09:00:03 GMT"}, None),
        ({"retry-after": "Wed, 04 Nov 2026 09:00:03 GMT", "date": "yesterday"}, None),
        ({"retry-after": "Wed, 04 Nov 2026 09:00:03 -0000", "date": NOW}, None),
        ({"retry-after": "Mon, 99999999999999999999 Nov 2026 00:00:00 GMT", "date": NOW}, None),
        ({"retry-after": "Mon, 02 Nov 2026 00:00:00 +99999999999999999999999999", "date": NOW}, None),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-0"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "abc"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "2, 3"}, None),
        ({"retry-after": "2s"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "-inf"}, None),
        ({"retry-after": "1e309"}, None),
        ({"retry-after": "1e30"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "9" * 5000}, None),
        ({"retry-after": "\u0662"}, 2000),
    ],
)
def test_the_wait_that_a_provider_asks_for(headers: dict[str, str], wait_ms: int | None) -> None:
    assert read_retry_after_ms(headers) == wait_ms


@settings(max_examples=150)
@given(st.text(max_size=40), st.text(max_size=40))
def test_no_header_makes_the_wait_raise_or_leave_the_year(value: str, date: str) -> None:
    wait = read_retry_after_ms({"retry-after": value, "date": date})
    assert wait is None or 0 < wait <= MAX_RETRY_AFTER_MS


@pytest.mark.parametrize("wait", [10**400, -5, 0])
def test_a_wait_in_the_body_obeys_the_same_bounds(wait: int) -> None:
    assert classify_error(ReportedError(retry_after_ms=wait), 429, {"retry-after": "3"}, {}).body.retry_after_ms == 3000


def test_a_wait_in_the_body_goes_before_the_headers() -> None:
    body = classify_error(ReportedError(retry_after_ms=22_000), 429, {"retry-after": "3"}, {}).body
    assert body.retry_after_ms == 22_000


@pytest.mark.parametrize(
    ("status", "told", "retryable"),
    [
        (500, "false", False),
        (400, "true", True),
        (429, "false", False),
        (500, "maybe", True),
        (400, "1", False),
        (529, None, True),
    ],
)
def test_a_provider_can_say_whether_to_retry(status: int, told: str | None, retryable: bool) -> None:
    headers = {} if told is None else {"x-should-retry": told}
    assert classify_error(ReportedError(), status, headers, {}).body.retryable is retryable


# --- ids and words ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "request-id",
        "x-request-id",
        "x-amzn-requestid",
        "apim-request-id",
        "x-github-request-id",
        "x-generation-id",
        "cf-ray",
    ],
)
def test_the_request_id_is_found_under_every_name(name: str) -> None:
    assert (
        read_request_id({"content-type": "text/plain", name: "req_011CdeLVBnxFhKCgRGu6DHqy"})
        == "req_011CdeLVBnxFhKCgRGu6DHqy"
    )


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"x-request-id": "a", "cf-ray": "b"}, "a"),
        ({"x-request-id": "", "cf-ray": "b"}, "b"),
        ({"x-request-id": "a b\x1b[31m\u202ec"}, "ab[31mc"),
        ({"x-request-id": "é"}, None),
        ({"x-request-id": "x" * 1000}, "x" * 128),
        ({"x-request-id": "sk-CANARY-0123456789"}, "[redacted]"),
        ({}, None),
    ],
)
def test_the_request_id_is_short_and_printable(headers: dict[str, str], found: str | None) -> None:
    assert read_request_id(headers) == found


def test_the_request_id_of_a_body_keeps_to_the_same_shape() -> None:
    assert classify_error(ReportedError(request_id="r\n" + "x" * 500), 400, {}, {}).body.request_id == "r" + "x" * 127


def test_machine_codes_keep_to_their_alphabet() -> None:
    reported = ReportedError(codes=("", "a b\x00\u202e/" + "c" * 100))
    body = classify_error(reported, 400, {}, {}).body
    assert body.provider_code is not None
    assert set(body.provider_code) <= set("abc_")
    assert len(body.provider_code) == 64


def test_only_strings_and_whole_numbers_are_machine_codes() -> None:
    assert list_codes("a", None, True, 1300, "", [], {}, 1.5) == ("a", "1300")


# --- what goes before what -------------------------------------------------------------------


def code_of(
    message: str, status: int | None, codes: tuple[str, ...] = (), table: dict[str, Rule] | None = None
) -> ErrorCode:
    return classify_error(ReportedError(message=message, codes=codes), status, {}, table or {}).body.code


def test_the_machine_code_goes_before_the_message_and_the_message_before_the_status() -> None:
    table = {"known": Rule("permission_denied")}
    assert code_of("prompt is too long", 400, ("unknown", "known"), table) == "permission_denied"
    assert code_of("prompt is too long", 400, ("unknown",), table) == "context_length_exceeded"
    assert code_of("it was strange", 400, ("unknown",), table) == "invalid_request"


@pytest.mark.parametrize("status", [401, 402, 404, 503, 529])
def test_a_message_does_not_outweigh_a_status_that_means_one_thing(status: int) -> None:
    assert code_of("prompt is too long; 429; overloaded", status) == STATUS_RULES[status].code


def test_only_the_beginning_of_a_message_is_searched() -> None:
    long = "y " * 8_000_000
    started = time.thread_time()
    assert code_of(f"prompt is too long {long}", None) == "context_length_exceeded"
    assert code_of(f"{long} prompt is too long", None) == "provider_error"
    assert time.thread_time() - started < 1


@pytest.mark.parametrize(
    "text", ["429 Too Many Requests", "I have 429 apples", "rate limit: see our docs", "error 503"]
)
def test_numbers_in_a_message_are_not_a_status(text: str) -> None:
    assert code_of(text, 400) == "invalid_request"


STATUS_ROWS: list[tuple[int, ErrorCode, bool]] = [
    (301, "provider_error", False),
    (307, "provider_error", False),
    (400, "invalid_request", False),
    (401, "auth_failed", False),
    (402, "quota_exceeded", False),
    (403, "permission_denied", False),
    (404, "model_not_found", False),
    (407, "network_error", False),
    (408, "provider_error", True),
    (413, "invalid_request", False),
    (418, "invalid_request", False),
    (422, "invalid_request", False),
    (424, "provider_error", True),
    (429, "rate_limited", True),
    (451, "permission_denied", False),
    (499, "provider_error", True),
    (500, "provider_error", True),
    (502, "provider_error", True),
    (503, "provider_overloaded", True),
    (504, "provider_error", True),
    (520, "provider_error", True),
    (527, "provider_error", True),
    (529, "provider_overloaded", True),
    (530, "provider_error", True),
    (599, "provider_error", True),
]


@pytest.mark.parametrize(("status", "code", "retryable"), STATUS_ROWS)
def test_a_status_alone_gives_the_code(status: int, code: ErrorCode, retryable: bool) -> None:
    body = classify_error(ReportedError(), status, {}, {}).body
    assert (body.code, body.retryable, body.provider_status) == (code, retryable, status)
    assert body.message == f"The provider answered with status {status}."


def test_a_redirect_has_a_reason_of_its_own() -> None:
    assert classify_error(ReportedError(), 302, {}, {}).body.reason == "redirect"


@pytest.mark.parametrize("status", [None, 0])
def test_an_error_inside_a_stream_has_no_status(status: int | None) -> None:
    body = classify_error(ReportedError(), status, {}, {}).body
    assert (body.code, body.provider_status, body.message) == ("provider_error", None, "The provider failed.")


# --- what providers say ----------------------------------------------------------------------


def anthropic(kind: str, message: str = "no more is said") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def openai(code: str | None, message: str = "no more is said", kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def azure(code: str, message: str = "no more is said", inner: str | None = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    return {"error": error | ({"innererror": {"code": inner, "content_filter_result": {}}} if inner else {})}


ANTHROPIC_ROWS: list[tuple[int, dict[str, Any], ErrorCode]] = [
    (400, anthropic("invalid_request_error"), "invalid_request"),
    (
        400,
        anthropic("invalid_request_error", "prompt is too long: 215000 tokens > 200000 maximum"),
        "context_length_exceeded",
    ),
    (
        400,
        anthropic("invalid_request_error", "input length and `max_tokens` exceed context limit: 1 + 2 > 3"),
        "context_length_exceeded",
    ),
    (400, anthropic("invalid_request_error", "Your credit balance is too low to access the API."), "quota_exceeded"),
    (400, anthropic("invalid_request_error", "You have reached your specified spend limit."), "quota_exceeded"),
    (
        400,
        anthropic("invalid_request_error", "This model does not support assistant message prefill."),
        "invalid_request",
    ),
    (401, anthropic("authentication_error", "invalid x-api-key"), "auth_failed"),
    (402, anthropic("billing_error"), "quota_exceeded"),
    (403, anthropic("permission_error"), "permission_denied"),
    (404, anthropic("not_found_error", "model: claude-none"), "model_not_found"),
    (413, anthropic("request_too_large"), "invalid_request"),
    (429, anthropic("rate_limit_error"), "rate_limited"),
    (500, anthropic("api_error"), "provider_error"),
    (504, anthropic("timeout_error"), "provider_error"),
    (529, anthropic("overloaded_error", "Overloaded"), "provider_overloaded"),
]

OPENAI_ROWS: list[tuple[int, dict[str, Any], ErrorCode]] = [
    (401, openai("invalid_api_key", "Incorrect API key provided: sk-abc***xyz."), "auth_failed"),
    (403, openai("unsupported_country_region_territory", kind="request_forbidden"), "permission_denied"),
    (403, openai(None, "You do not have access to model gpt-7."), "model_not_found"),
    (404, openai("model_not_found", "The model `gpt-0` does not exist."), "model_not_found"),
    (400, openai("400", "Invalid model name passed in model=no-such."), "model_not_found"),
    (400, openai("400", "litellm.ContextWindowExceededError: no"), "context_length_exceeded"),
    (429, openai("rate_limit_exceeded", "Rate limit reached for gpt-6.", "requests"), "rate_limited"),
    (
        429,
        openai("rate_limit_exceeded", "Request too large for gpt-6 on tokens per min (TPM).", "tokens"),
        "context_length_exceeded",
    ),
    (429, openai("insufficient_quota", "You exceeded your current quota.", "insufficient_quota"), "quota_exceeded"),
    (429, openai("billing_hard_limit_reached"), "quota_exceeded"),
    (400, openai("context_length_exceeded"), "context_length_exceeded"),
    (400, openai(None, "This model's maximum context length is 128000 tokens."), "context_length_exceeded"),
    (400, openai("content_policy_violation"), "content_filtered"),
    (400, openai("invalid_prompt"), "content_filtered"),
    (400, openai("string_above_max_length", "Invalid 'user': string too long."), "invalid_request"),
    (400, openai("unsupported_value", "Unsupported value: 'temperature'."), "invalid_request"),
    (500, openai(None, "The server had an error.", "server_error"), "provider_error"),
    (503, openai(None, "The engine is currently overloaded.", "server_error"), "provider_overloaded"),
    # Azure answers in the same shape.
    (404, azure("DeploymentNotFound"), "model_not_found"),
    (400, azure("content_filter", inner="ResponsibleAIPolicyViolation"), "content_filtered"),
    (401, azure("401", "Access denied due to invalid subscription key."), "auth_failed"),
    (403, azure("403", "Access denied due to Virtual Network/Firewall rules."), "permission_denied"),
    (429, azure("429", "Requests have exceeded the call rate limit of your tier."), "rate_limited"),
]

ROWS = [
    *(("anthropic_messages", *row) for row in ANTHROPIC_ROWS),
    *(("openai_chat", *row) for row in OPENAI_ROWS),
    *(("openai_responses", *row) for row in OPENAI_ROWS),
]


@pytest.mark.parametrize(
    ("wire", "status", "body", "code"),
    [pytest.param(*row, id=f"{row[0]}-{row[1]}-{index}") for index, row in enumerate(ROWS)],
)
def test_documented_errors_get_their_code(wire: str, status: int, body: dict[str, Any], code: ErrorCode) -> None:
    error = registry.load(wire).classify(status, {"retry-after": "7"}, msgspec.json.encode(body)).body
    assert error.code == code
    assert error.provider_status == status
    assert error.message == clean_text(body["error"]["message"])
    assert error.retryable is (code in RETRYABLE)
    assert error.retry_after_ms == 7000
    assert "sk-abc" not in error.message


@pytest.mark.parametrize("kind", ["overloaded_error", "rate_limit_error", "api_error"])
def test_an_error_event_of_a_stream_is_classified_by_its_type(kind: str) -> None:
    at_http = registry.load("anthropic_messages").classify(500, {}, msgspec.json.encode(anthropic(kind))).body
    with pytest.raises(SidecarError) as caught:
        play(ROUTE, 200, {}, [b"event: error\ndata: " + msgspec.json.encode(anthropic(kind)) + b"\n\n"], list)
    assert caught.value.body.code == at_http.code
    assert caught.value.body.provider_status is None
    assert caught.value.body.provider_code == kind


@pytest.mark.parametrize("wire", ["anthropic_messages", "openai_chat", "openai_responses"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"<html><title>502 Bad Gateway</title></html>",
        b"  <!DOCTYPE html>",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b'{"error":null}',
        b'{"error":[]}',
        b'{"error":{}}',
        b'{"error":{"message":null,"type":null,"code":null}}',
        b'{"error":{"message":{"a":1},"type":["x"],"code":{"b":2}}}',
        b'{"message":null}',
        b"[" * 5000,
    ],
)
def test_a_body_without_a_report_leaves_the_status_to_decide(wire: str, body: bytes) -> None:
    error = registry.load(wire).classify(502, {}, body).body
    assert (error.code, error.provider_status) == ("provider_error", 502)
    assert "<" not in error.message
    assert error.message


def test_plain_text_is_the_message() -> None:
    error = registry.load("openai_chat").classify(429, {}, b"  slow down, please\n").body
    assert (error.code, error.message) == ("rate_limited", "slow down, please")


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (b"<html><head><title>400 No TLS</title></head>", "400 No TLS"),
        (b"<!doctype html>\n<TITLE>\n 413 Request\n Entity Too Large </TITLE>", "413 Request Entity Too Large"),
        (b"<html><body>No title</body></html>", ""),
        (b"<html>" + b" " * 10_000 + b"<title>late</title>", ""),
        (b"<title>" + b"x" * 10_000 + b"</title>", ""),
        (b"plain words", "plain words"),
    ],
)
def test_of_a_page_the_title_says_what_is_wrong(page: bytes, message: str) -> None:
    assert read_plain_text(page) == message
