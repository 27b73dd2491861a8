"""Google's errors beyond the fixtures: waits, quotas, wrappings, and unusual shapes."""

import json
from typing import Any

import pytest

from sidecar.core.errors import SidecarError
from sidecar.wires import gemini as wire
from tests.support.gemini_chats import chunk, played


def error_of(status: int, document: Any) -> SidecarError:
    return wire.classify(status, {}, json.dumps(document).encode())


def status(word: str, *details: Any, code: int = 429, message: str = "No.") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": word, "details": list(details)}}


@pytest.mark.parametrize(
    ("delay", "wait_ms"),
    [
        ("37s", 37_000),
        ("0.5s", 500),
        ("37.826266380s", 37_827),
        (" 2s ", 2000),
        ("839.2ms", 840),
        ("1m", 60_000),
        ("0s", None),
        ("", None),
        ("-3s", None),
        ("3", None),
        ("soon", None),
        ("9" * 40 + "s", None),
        (7, None),
        (None, None),
        ({"seconds": 3}, None),
    ],
)
def test_how_long_the_details_ask_to_wait(delay: Any, wait_ms: int | None) -> None:
    error = error_of(429, status("RESOURCE_EXHAUSTED", {"@type": "…RetryInfo", "retryDelay": delay}))
    assert (error.body.code, error.body.retry_after_ms) == ("rate_limited", wait_ms)


@pytest.mark.parametrize(
    ("message", "wait_ms"),
    [
        ("Please retry in 48.939935699s.", 48_940),
        ("Please retry in 839.5ms.", 840),
        ("Please retry in 14h3m2s.", 50_582_000),
        ("Please retry in a while.", None),
        ("Retry in 5 minutes", None),
    ],
)
def test_how_long_the_text_asks_to_wait(message: str, wait_ms: int | None) -> None:
    assert error_of(429, status("RESOURCE_EXHAUSTED", message=message)).body.retry_after_ms == wait_ms


@pytest.mark.parametrize(
    "detail",
    [
        {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]},
        {"reason": "RATE_LIMIT_EXCEEDED", "metadata": {"quota_limit": "GenerateRequestsPerDayPerProjectPerRegion"}},
    ],
)
def test_a_daily_quota_is_not_worth_a_retry(detail: dict[str, Any]) -> None:
    error = error_of(429, status("RESOURCE_EXHAUSTED", detail, {"retryDelay": "2s"}))
    assert (error.body.code, error.body.retryable, error.body.retry_after_ms) == ("quota_exceeded", False, None)


@pytest.mark.parametrize(
    ("document", "code", "message"),
    [
        ({"error": "invalid_token"}, "auth_failed", "invalid_token"),
        ({"error": {"message": None, "code": "x"}}, "auth_failed", "The provider answered with status 401."),
        ([], "auth_failed", "[]"),
        ([[]], "auth_failed", "[[]]"),
        ({"error": {"message": '{"error": 7}', "status": "INTERNAL"}}, "provider_error", '{"error": 7}'),
        (
            {"error": {"message": '[{"error": {"status": "NOT_FOUND"}}]'}},
            "model_not_found",
            '[{"error": {"status": "NOT_FOUND"}}]',
        ),
        (status("INTERNAL", 7, None, {"violations": 7}, {"metadata": []}, message="{"), "provider_error", "{"),
    ],
)
def test_errors_in_unusual_shapes_are_classified(document: Any, code: str, message: str) -> None:
    error = error_of(401, document)
    assert (error.body.code, error.body.message, error.body.provider_status) == (code, message, 401)


@pytest.mark.long
def test_an_error_is_unwrapped_from_others_only_a_few_times() -> None:
    document = status("UNAVAILABLE", message="Innermost.")
    for _ in range(20):
        document = status("INTERNAL", message=json.dumps(document))
    assert error_of(500, document).body.provider_code == "INTERNAL"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (
            {
                "code": 400,
                "message": "The input token count (9) exceeds the maximum number of tokens allowed (5).",
                "status": "INVALID_ARGUMENT",
            },
            "context_length_exceeded",
        ),
        ({"code": 400, "message": "Bad.", "status": "INVALID_ARGUMENT"}, "invalid_request"),
        ({"code": 200, "message": "Odd."}, "provider_error"),
        ("Odd.", "provider_error"),
        (7, "provider_error"),
    ],
)
def test_an_error_inside_a_stream_has_no_http_status(error: Any, code: str) -> None:
    _, failure = played(chunk({"text": "Well"}), {"error": error})
    assert isinstance(failure, SidecarError)
    assert (failure.body.code, failure.body.provider_status) == (code, None)
