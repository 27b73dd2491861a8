"""Errors of the Messages API, as HTTP replies and inside streams. [pure]

Knows its error bodies and its machine codes. Source: anthropic 2.11.0
(`types/shared/error_type.py`), read 2026-11.
"""

from typing import Any

from sidecar.core.errors import SidecarError
from sidecar.core.json_values import parse_json, read_object, read_text
from sidecar.wires.shared.error_rules import (
    ReportedError,
    Rule,
    classify_error,
    classify_stream_error,
    list_codes,
    read_plain_text,
)

_SPEND_LIMIT = Rule("quota_exceeded", hint="A spend limit of the organization is reached.")

ERRORS: dict[str, Rule] = {
    "authentication_error": Rule("auth_failed"),
    "permission_error": Rule("permission_denied"),
    "billing_error": Rule("quota_exceeded"),
    "not_found_error": Rule("model_not_found"),
    "request_too_large": Rule("invalid_request"),
    "rate_limit_error": Rule("rate_limited"),
    "overloaded_error": Rule("provider_overloaded"),
    "api_error": Rule("provider_error"),
    "timeout_error": Rule("provider_error"),
    "enforced_spend_limit_reached": _SPEND_LIMIT,
    "contract_spend_limit_reached": _SPEND_LIMIT,
    "organization_on_hold": Rule("permission_denied"),
}
"""By `error.details.error_code`, then by `error.type`."""


def classify(status: int, headers: dict[str, str], body: bytes) -> SidecarError:
    """Return the error of an HTTP error reply."""
    document = parse_json(body)
    if isinstance(document, list) and document:
        # Platforms that host the models wrap their own errors in a list.
        document = document[0]
    if not isinstance(document, dict):
        return classify_error(ReportedError(message=read_plain_text(body)), status, headers, ERRORS)
    return classify_error(_read_report(document), status, headers, ERRORS)


def classify_in_stream(document: dict[str, Any]) -> SidecarError:
    """Return the error that *document* reports inside a reply of status 200."""
    return classify_stream_error(_read_report(document), ERRORS)


def _read_report(document: dict[str, Any]) -> ReportedError:
    error = document.get("error")
    if not isinstance(error, dict):
        return ReportedError(message=read_text(error) or read_text(document.get("message")))
    detail_code = read_object(error.get("details")).get("error_code")
    return ReportedError(
        message=read_text(error.get("message")),
        codes=list_codes(detail_code, error.get("type"), error.get("status"), error.get("code")),
        request_id=read_text(document.get("request_id")) or None,
    )
