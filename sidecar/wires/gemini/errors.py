"""Google's error bodies → the protocol's error codes. [pure]

Knows `google.rpc.Status`, what wraps it, and the details that say more than it does. Sources:
google-genai 3.4.0 `errors.py`, googleapis `google/rpc/code.proto`, `google/rpc/error_details.proto`
and `google/api/error_reason.proto`, read 2026-11.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

from sidecar.core.errors import SidecarError
from sidecar.core.json_values import parse_json, read_object, read_objects, read_text
from sidecar.wires.shared.error_rules import (
    STATUS_RULES,
    ReportedError,
    Rule,
    RuleTable,
    classify_error,
    list_codes,
    read_plain_text,
)

_KEY_RESTRICTED = Rule("permission_denied", hint="The key's restrictions do not allow this request.")
_QUOTA_PROJECT = Rule("permission_denied", hint="Choose a quota project that the account may use.")

ERRORS: dict[str, Rule] = {
    "API_KEY_INVALID": Rule("auth_failed", hint="Check the API key."),
    "API_KEY_EXPIRED": Rule("auth_failed", hint="The API key has expired: create a new one."),
    "API_KEY_SERVICE_BLOCKED": _KEY_RESTRICTED,
    "API_KEY_HTTP_REFERRER_BLOCKED": _KEY_RESTRICTED,
    "API_KEY_IP_ADDRESS_BLOCKED": _KEY_RESTRICTED,
    "API_KEY_ANDROID_APP_BLOCKED": _KEY_RESTRICTED,
    "API_KEY_IOS_APP_BLOCKED": _KEY_RESTRICTED,
    "SERVICE_DISABLED": Rule("permission_denied", hint="Enable the API for the project in the Cloud console."),
    "BILLING_DISABLED": Rule("permission_denied", hint="Enable billing for the project in the Cloud console."),
    "CONSUMER_SUSPENDED": Rule("permission_denied"),
    "USER_PROJECT_DENIED": _QUOTA_PROJECT,
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": Rule(
        "permission_denied", hint="The access token needs the scope `cloud-platform`."
    ),
    "RATE_LIMIT_EXCEEDED": Rule("rate_limited"),
    "UNAUTHENTICATED": Rule("auth_failed", hint="Check the credential, or log in again."),
    "PERMISSION_DENIED": Rule("permission_denied"),
    "FAILED_PRECONDITION": Rule("permission_denied"),
    "NOT_FOUND": Rule("model_not_found"),
    "RESOURCE_EXHAUSTED": Rule("rate_limited"),
    "UNAVAILABLE": Rule("provider_overloaded"),
    "INTERNAL": Rule("provider_error"),
    "UNKNOWN": Rule("provider_error"),
    "ABORTED": Rule("provider_error"),
    "CANCELLED": Rule("provider_error"),
    "DEADLINE_EXCEEDED": Rule("provider_error"),
    "UNIMPLEMENTED": Rule("invalid_request"),
}
"""By the reason in the details, then by the status. `INVALID_ARGUMENT` says no more than the HTTP status 400."""

_DAILY_QUOTA = Rule("quota_exceeded", hint="The daily quota is used up.")
_DAILY_ERRORS = ERRORS | {"RESOURCE_EXHAUSTED": _DAILY_QUOTA, "RATE_LIMIT_EXCEEDED": _DAILY_QUOTA}
"""Rules for when a daily quota is among those that were exceeded: a short wait does not help."""

PAYMENT_REQUIRED = 402

_PAYMENT_ERRORS = ERRORS | {"RESOURCE_EXHAUSTED": STATUS_RULES[PAYMENT_REQUIRED]}
"""Rules for when the prepaid credits are used up: the machine code is the same as for a limit per minute."""

MAX_WRAPPINGS = 3
"""How many times an error is unwrapped from the message of another."""


def classify(status: int, headers: dict[str, str], body: bytes) -> SidecarError:
    """Return the error of an HTTP error reply or, for a *status* of 0, of an error that stands alone in a stream."""
    error = _unwrap_error(parse_json(body))
    if error is None:
        return classify_error(ReportedError(message=read_plain_text(body)), status, headers, ERRORS)
    return _classify_status(error, status, headers)


def classify_in_stream(error: object) -> SidecarError:
    """Return the error of what stands under `error` inside a reply of status 200."""
    return _classify_status(_unwrap_error({"error": error}) or {}, 0, {})


def get_error(document: object) -> object:
    """Return what stands under `error` in *document*, or in the first entry of a list, or None."""
    if isinstance(document, list):
        document = document[0] if document else None
    return document.get("error") or None if isinstance(document, dict) else None


def _unwrap_error(document: object, depth: int = 0) -> dict[str, Any] | None:
    """Return the innermost error: gateways put the JSON of one into the message of another."""
    error = get_error(document)
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, dict):
        return None
    message = error.get("message")
    if depth < MAX_WRAPPINGS and isinstance(message, str) and message.lstrip()[:1] in ("{", "["):
        inner = _unwrap_error(parse_json(message.encode()), depth + 1)
        if inner is not None:
            return error | inner
    return error


def _classify_status(error: dict[str, Any], status: int, headers: dict[str, str]) -> SidecarError:
    """Return the failure that a `google.rpc.Status` reports; *status* is 0 inside a reply of status 200."""
    details = read_objects(error.get("details"))
    code = error.get("code")
    is_daily = any("PerDay" in quota for quota in _list_quotas(details))
    message = read_text(error.get("message"))
    reported = ReportedError(
        message=message,
        codes=list_codes(*(each.get("reason") for each in details), error.get("status"), code),
        retry_after_ms=None if is_daily else _read_retry_delay_ms(details, message),
    )
    reported_status = code if isinstance(code, int) and 400 <= code < 600 else 0
    failure = classify_error(reported, status or reported_status, headers, _pick_table(status, is_daily=is_daily))
    # The status in the body of a reply of status 200 is not an HTTP status.
    return failure if status else failure.with_fields(provider_status=None)


def _pick_table(status: int, *, is_daily: bool) -> RuleTable:
    if status == PAYMENT_REQUIRED:
        return _PAYMENT_ERRORS
    return _DAILY_ERRORS if is_daily else ERRORS


def _list_quotas(details: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the names of the quotas in *details*, whose entries may come without their `@type`."""
    for each in details:
        for violation in read_objects(each.get("violations")):
            if isinstance(violation.get("quotaId"), str):
                yield violation["quotaId"]
        metadata = read_object(each.get("metadata"))
        if isinstance(metadata.get("quota_limit"), str):
            yield metadata["quota_limit"]


_DURATION = r"(?:(\d{1,4})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,12})?)(ms|s))?"
_DELAY = re.compile(_DURATION, re.ASCII)
_RETRY_IN = re.compile(rf"retry in {_DURATION}", re.ASCII | re.IGNORECASE)


def _read_retry_delay_ms(details: list[dict[str, Any]], message: str) -> int | None:
    """Return how long to wait, from `retryDelay` (such as `37.8s`) or the text (such as `retry in 1h2m3.5s`)."""
    delays = [each["retryDelay"] for each in details if isinstance(each.get("retryDelay"), str)]
    match = _DELAY.fullmatch(delays[0].strip()) if delays else None
    if match is None:
        match = _RETRY_IN.search(message)
    if match is None:
        return None
    hours, minutes, number, unit = match.groups()
    seconds = float(number or 0) / (1000 if unit == "ms" else 1)
    return math.ceil(1000 * (int(hours or 0) * 3600 + int(minutes or 0) * 60 + seconds)) or None
