"""Failures of the Responses API, as HTTP replies and inside streams. [pure]

Knows its error bodies and its machine codes. Sources: openai 3.52.0
(`types/responses/response_error.py`, `_exceptions.py`) and the guide on error codes, read
2026-11; a flat body (`{"code","error"}`) is what some servers of the same API send.
"""

import re
from collections.abc import Mapping
from typing import Any

from sidecar.core.errors import SidecarError
from sidecar.core.json_values import parse_json
from sidecar.wires.shared.error_rules import (
    ReportedError,
    Rule,
    classify_error,
    classify_stream_error,
    list_codes,
    read_plain_text,
)

_QUOTA = Rule("quota_exceeded", hint="Check the plan and the balance of the account.")
_IMAGE = Rule("invalid_request", hint="Look at the images of the request.")
_FILTERED = Rule("content_filtered")

ERRORS: dict[str, Rule] = {
    "invalid_api_key": Rule("auth_failed", hint="Check the key, or log in again."),
    "authentication_error": Rule("auth_failed", hint="Check the key, or log in again."),
    "unsupported_country_region_territory": Rule("permission_denied"),
    "insufficient_quota": _QUOTA,
    "billing_hard_limit_reached": _QUOTA,
    "billing_not_active": _QUOTA,
    "credit_balance_exhausted": _QUOTA,
    "organization_spend_limit_exceeded": _QUOTA,
    "project_spend_limit_exceeded": _QUOTA,
    "organization_usage_limit_exceeded": _QUOTA,
    "server_is_overloaded": Rule("provider_overloaded"),
    "vector_store_timeout": Rule("provider_error"),
    "context_length_exceeded": Rule(
        "context_length_exceeded", hint="Shorten the conversation or ask for fewer tokens."
    ),
    "model_not_found": Rule("model_not_found"),
    "model_not_supported": Rule("model_not_found"),
    "DeploymentNotFound": Rule("model_not_found"),
    "unsupported_api_for_model": Rule("invalid_request", hint="Ask for another wire with `options.wire`."),
    "previous_response_not_found": Rule("invalid_request"),
    "data_residency_mismatch": Rule("invalid_request"),
    "ResponsibleAIPolicyViolation": _FILTERED,
    "content_filter": _FILTERED,
    "content_policy_violation": _FILTERED,
    "invalid_prompt": _FILTERED,
    "bio_policy": _FILTERED,
    "misalignment_policy_violation": _FILTERED,
    "image_content_policy_violation": _FILTERED,
    "invalid_image": _IMAGE,
    "invalid_image_format": _IMAGE,
    "invalid_image_mode": _IMAGE,
    "invalid_image_url": _IMAGE,
    "invalid_base64_image": _IMAGE,
    "image_too_large": _IMAGE,
    "image_too_small": _IMAGE,
    "image_file_too_large": _IMAGE,
    "image_parse_error": _IMAGE,
    "unsupported_image_media_type": _IMAGE,
    "empty_image_file": _IMAGE,
    "failed_to_download_image": _IMAGE,
    "image_file_not_found": _IMAGE,
}
"""By `error.innererror.code`, `error.code`, then `error.type`.

`rate_limit_exceeded` is not among them: it is also what a request too large for the limit gets.
"""

PARAMS = {
    "model": "params.model",
    "input": "params.messages",
    "max_output_tokens": "params.options.max_tokens",
    "parallel_tool_calls": "params.options.parallel_tool_calls",
    "reasoning": "params.options.reasoning",
    "temperature": "params.options.temperature",
    "text": "params.options.response_format",
    "tool_choice": "params.options.tool_choice",
    "tools": "params.options.tools",
    "top_p": "params.options.top_p",
}
"""What the host calls the field of the body that an error names."""


def classify(status: int, headers: Mapping[str, str], body: bytes) -> SidecarError:
    """Return the failure of an HTTP error reply."""
    raw = parse_json(body)
    fault = _fault(raw) if isinstance(raw, dict) else ReportedError(message=read_plain_text(body))
    return classify_error(fault, status, headers, ERRORS)


def in_stream(raw: dict[str, Any]) -> SidecarError:
    """Return the failure of an error inside a reply of status 200."""
    return classify_stream_error(_fault(raw), ERRORS)


def _fault(raw: dict[str, Any]) -> ReportedError:
    error = raw.get("error")
    if not isinstance(error, dict):
        told = (error, raw.get("message"), raw.get("detail"))
        return ReportedError(
            message=next((text for text in told if isinstance(text, str)), ""),
            codes=list_codes(raw.get("code"), raw.get("type")),
        )
    message, inner = error.get("message"), error.get("innererror")
    inner_code = inner.get("code") if isinstance(inner, dict) else None
    return ReportedError(
        message=message if isinstance(message, str) else "",
        codes=list_codes(inner_code, error.get("code"), error.get("type")),
        param=_param(error.get("param")),
    )


def _param(raw: object) -> str | None:
    return PARAMS.get(re.split(r"[.\[]", raw, maxsplit=1)[0]) if isinstance(raw, str) else None
