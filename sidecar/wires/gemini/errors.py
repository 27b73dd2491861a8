"""Google's error bodies → the closed set of codes. [pure]

Knows `google.rpc.Status` in its wrappings and the details that say more than it. Sources:
google-genai 3.4.0 `errors.py`, googleapis `google/rpc/code.proto`, `google/rpc/error_details.proto`
and `google/api/error_reason.proto`, read 2026-11.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

from sidecar.core.errors import SidecarError
from sidecar.core.json_values import parse_json
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
_QUOTA_PROJECT = Rule("permission_denied", hint="Choose a quota project that this account may use.")

ERRORS: dict[str, Rule] = {
    "API_KEY_INVALID": Rule("auth_failed", hint="Check the API key."),
    "API_KEY_EXPIRED": Rule("auth_failed", hint="Renew the API key."),
    "API_KEY_SERVICE_BLOCKED": _KEY_RESTRICTED,
    "API_KEY_HTTP_REFERRER_BLOCKED": _KEY_RESTRICTED,
    "API_KEY_IP_ADDRESS_BLOCKED": _KEY_RESTRICTED,
    "API_KEY_ANDROID_APP_BLOCKED": _KEY_RESTRICTED,
    "API_KEY_IOS_APP_BLOCKED": _KEY_RESTRICTED,
    "SERVICE_DISABLED": Rule("permission_denied", hint="Enable the API for the project in the Cloud console."),
    "BILLING_DISABLED": Rule("permission_denied", hint="Enable billing for the project in the Cloud console."),
    "CONSUMER_SUSPENDED": Rule("permission_denied"),
    "USER_PROJECT_DENIED": _QUOTA_PROJECT,
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": Rule("permission_denied", hint="The token needs the scope cloud-platform."),
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
"""By the reason in the details, then the status. `INVALID_ARGUMENT` says no more than the HTTP status 400 does."""

_DAY = Rule("quota_exceeded", hint="The quota of the day is used up.")
_ERRORS_OF_THE_DAY = ERRORS | {"RESOURCE_EXHAUSTED": _DAY, "RATE_LIMIT_EXCEEDED": _DAY}
"""Where a quota of the day is among those that were exceeded: waiting a little does not help."""

PAYMENT_REQUIRED = 402

_ERRORS_OF_MONEY = ERRORS | {"RESOURCE_EXHAUSTED": STATUS_RULES[PAYMENT_REQUIRED]}
"""Where the prepaid credits are used up: the same word as for a limit of the minute."""

MAX_WRAPPINGS = 3
"""How deep an error is looked for within the message of another."""


def classify(status: int, headers: dict[str, str], body: bytes) -> SidecarError:
    """Return the failure of an HTTP error reply, or with status 0 of an error that stands alone in a stream."""
    error = _unwrapped(parse_json(body))
    if error is None:
        return classify_error(ReportedError(message=read_plain_text(body)), status, headers, ERRORS)
    return _judged(error, status, headers)


def in_stream(raw: object) -> SidecarError:
    """Return the failure of what stands under `error` inside a reply of status 200."""
    return _judged(_unwrapped({"error": raw}) or {}, 0, {})


def error_in(document: object) -> object:
    """Return what stands under `error` in *document* or in a list's first entry, or None."""
    if isinstance(document, list):
        document = document[0] if document else None
    return document.get("error") or None if isinstance(document, dict) else None


def _unwrapped(document: object, depth: int = 0) -> dict[str, Any] | None:
    """Return the innermost error: gateways put the JSON of one into the message of another."""
    error = error_in(document)
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, dict):
        return None
    message = error.get("message")
    if depth < MAX_WRAPPINGS and isinstance(message, str) and message.lstrip()[:1] in ("{", "["):
        inner = _unwrapped(parse_json(message.encode()), depth + 1)
        if inner is not None:
            return error | inner
    return error


def _judged(error: dict[str, Any], status: int, headers: dict[str, str]) -> SidecarError:
    details = [each for each in _list(error.get("details")) if isinstance(each, dict)]
    code = error.get("code")
    of_the_day = any("PerDay" in quota for quota in _quotas(details))
    message = error.get("message")
    fault = ReportedError(
        message=message if isinstance(message, str) else "",
        codes=list_codes(*(each.get("reason") for each in details), error.get("status"), code),
        retry_after_ms=None if of_the_day else _wait_ms(details, message),
    )
    said = code if isinstance(code, int) and 400 <= code < 600 else 0
    judged = classify_error(fault, status or said, headers, _table(status, of_the_day=of_the_day))
    # What a reply of status 200 says of a status is no status of HTTP.
    return judged if status else judged.with_(provider_status=None)


def _table(status: int, *, of_the_day: bool) -> RuleTable:
    if status == PAYMENT_REQUIRED:
        return _ERRORS_OF_MONEY
    return _ERRORS_OF_THE_DAY if of_the_day else ERRORS


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _quotas(details: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the names of the quotas that *details* mention; entries may come without their `@type`."""
    for each in details:
        for violation in _list(each.get("violations")):
            if isinstance(violation, dict) and isinstance(violation.get("quotaId"), str):
                yield violation["quotaId"]
        metadata = each.get("metadata")
        if isinstance(metadata, dict) and isinstance(metadata.get("quota_limit"), str):
            yield metadata["quota_limit"]


_DURATION = r"(?:(\d{1,4})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,12})?)(ms|s))?"
_DELAY = re.compile(_DURATION, re.ASCII)
_RETRY_IN = re.compile(rf"retry in {_DURATION}", re.ASCII | re.IGNORECASE)


def _wait_ms(details: list[dict[str, Any]], message: object) -> int | None:
    """Return how long to wait, from `retryDelay` (as `37.8s`) or else from the text (as `retry in 1h2m3.5s`)."""
    delays = [each["retryDelay"] for each in details if isinstance(each.get("retryDelay"), str)]
    match = _DELAY.fullmatch(delays[0].strip()) if delays else None
    if match is None and isinstance(message, str):
        match = _RETRY_IN.search(message)
    if match is None:
        return None
    hours, minutes, number, unit = match.groups()
    seconds = float(number or 0) / (1000 if unit == "ms" else 1)
    return math.ceil(1000 * (int(hours or 0) * 3600 + int(minutes or 0) * 60 + seconds)) or None
