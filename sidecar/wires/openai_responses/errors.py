"""Errors of the Responses API, as HTTP replies and inside streams. [pure]

Knows its error bodies, its machine codes, and the flat body (`{"code","error"}`) of some servers of
the same API. Sources: openai 3.52.0 (`types/responses/response_error.py`, `_exceptions.py`) and the
guide on error codes, read 2026-11.
"""

import re
from collections.abc import Mapping
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

_QUOTA = Rule("quota_exceeded", hint="Check the plan and the balance of the account.")
_IMAGE = Rule("invalid_request", hint="Check the images of the request.")
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
    "unsupported_api_for_model": Rule(
        "invalid_request", hint="The model speaks another wire: choose one with `options.wire`."
    ),
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
"""By `error.innererror.code`, then by `error.code`, then by `error.type`.

`rate_limit_exceeded` is not here: a request that is too large for the limit gets it too.
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
"""The path of the host's field by the name of the body's field."""


def classify(status: int, headers: Mapping[str, str], body: bytes) -> SidecarError:
    """Return the error of an HTTP error reply."""
    document = parse_json(body)
    if not isinstance(document, dict):
        return classify_error(ReportedError(message=read_plain_text(body)), status, headers, ERRORS)
    return classify_error(_read_report(document), status, headers, ERRORS)


def classify_in_stream(document: dict[str, Any]) -> SidecarError:
    """Return the error that *document* reports inside a reply of status 200."""
    return classify_stream_error(_read_report(document), ERRORS)


def _read_report(document: dict[str, Any]) -> ReportedError:
    error = document.get("error")
    if not isinstance(error, dict):
        messages = (error, document.get("message"), document.get("detail"))
        return ReportedError(
            message=next((text for text in messages if isinstance(text, str)), ""),
            codes=list_codes(document.get("code"), document.get("type")),
        )
    inner_code = read_object(error.get("innererror")).get("code")
    return ReportedError(
        message=read_text(error.get("message")),
        codes=list_codes(inner_code, error.get("code"), error.get("type")),
        param=_find_param(error.get("param")),
    )


def _find_param(field: object) -> str | None:
    return PARAMS.get(re.split(r"[.\[]", field, maxsplit=1)[0]) if isinstance(field, str) else None
