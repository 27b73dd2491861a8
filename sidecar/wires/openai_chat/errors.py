"""Errors of Chat Completions and its imitations, as HTTP replies and inside streams. [pure]

Knows error bodies in the shapes of each imitation. Must not know what an answer looks like. Sources:
openai 3.52.0 (`_exceptions.py`), groq 1.7.0 (`chat_completion_chunk.py`), openrouter 1.3.84 (`errors/`),
vscode-copilot-chat (`chatMLFetcher.ts`), learn.microsoft.com, read 2026-11.
"""

from typing import Any

from sidecar.core.errors import SidecarError
from sidecar.core.json_values import parse_json, read_object, read_text
from sidecar.wires.openai_chat.chunks import ChatChunk, list_extensions
from sidecar.wires.shared.error_rules import (
    ReportedError,
    Rule,
    classify_error,
    classify_stream_error,
    list_codes,
    read_plain_text,
)

_QUOTA = Rule("quota_exceeded", hint="Check the plan and the balance of the account.")
_LOGIN = Rule("auth_failed", hint="Check the key, or log in again.")
_CONTEXT = Rule("context_length_exceeded", hint="Shorten the conversation or ask for fewer tokens.")
_BAD_CALL = Rule("provider_error", retryable=True, hint="The model wrote an invalid tool call: ask again.")

ERRORS: dict[str, Rule] = {
    "invalid_api_key": _LOGIN,
    "wrong_api_key": _LOGIN,
    "authentication_error": _LOGIN,
    "unsupported_country_region_territory": Rule("permission_denied"),
    "permission_error": Rule("permission_denied"),
    "PermissionDenied": Rule("permission_denied"),
    "extension_blocked": Rule("permission_denied"),
    "insufficient_quota": _QUOTA,
    "billing_hard_limit_reached": _QUOTA,
    "billing_not_active": _QUOTA,
    "billing_not_configured": _QUOTA,
    "credit_balance_exhausted": _QUOTA,
    "organization_spend_limit_exceeded": _QUOTA,
    "project_spend_limit_exceeded": _QUOTA,
    "organization_usage_limit_exceeded": _QUOTA,
    "quota_exceeded": _QUOTA,
    "free_quota_exceeded": _QUOTA,
    "overage_limit_reached": _QUOTA,
    "in_flight_budget": Rule("rate_limited"),
    "slow_down": Rule("rate_limited"),
    "rate_limited": Rule("rate_limited"),
    "user_model_rate_limited": Rule("rate_limited"),
    "user_global_rate_limited": Rule("rate_limited"),
    "integration_rate_limited": Rule("rate_limited"),
    "agent_mode_limit_exceeded": Rule("rate_limited"),
    "token_quota_exceeded": Rule("rate_limited"),
    "request_quota_exceeded": Rule("rate_limited"),
    "server_is_overloaded": Rule("provider_overloaded"),
    "overloaded_error": Rule("provider_overloaded"),
    "overloaded": Rule("provider_overloaded"),
    "model_overloaded": Rule("provider_overloaded"),
    "queue_exceeded": Rule("provider_overloaded"),
    "service_tier_capacity_exceeded": Rule("provider_overloaded"),
    "context_length_exceeded": _CONTEXT,
    "content_filter": Rule("content_filtered"),
    "content_policy_violation": Rule("content_filtered"),
    "ResponsibleAIPolicyViolation": Rule("content_filtered"),
    "invalid_prompt": Rule("content_filtered"),
    "off_topic": Rule("content_filtered"),
    "flagged_input": Rule("content_filtered"),
    "model_not_found": Rule("model_not_found"),
    "model_not_supported": Rule("model_not_found"),
    "unknown_model": Rule("model_not_found"),
    "invalid_model": Rule("model_not_found"),
    "DeploymentNotFound": Rule("model_not_found", hint="A new deployment can be found only after some minutes."),
    "OperationNotSupported": Rule(
        "invalid_request", hint="The model speaks another wire: choose one with `options.wire`."
    ),
    "unsupported_api_for_model": Rule(
        "invalid_request", hint="The model speaks another wire: choose one with `options.wire`."
    ),
    "tool_use_failed": _BAD_CALL,
    "json_validate_failed": _BAD_CALL,
}
"""By `error.code`, then by the inner code, then by `error.type`."""

PARAMS = {
    "model": "params.model",
    "max_completion_tokens": "params.options.max_tokens",
    "max_tokens": "params.options.max_tokens",
    "parallel_tool_calls": "params.options.parallel_tool_calls",
    "random_seed": "params.options.seed",
    "reasoning_effort": "params.options.reasoning.effort",
    "response_format": "params.options.response_format",
    "seed": "params.options.seed",
    "stop": "params.options.stop",
    "temperature": "params.options.temperature",
    "tool_choice": "params.options.tool_choice",
    "tools": "params.options.tools",
    "top_p": "params.options.top_p",
}
"""The path of the host's field by the name of the provider's parameter."""

MAX_DEPTH = 4
"""How deep a message is searched for."""


def classify(status: int, headers: dict[str, str], body: bytes) -> SidecarError:
    """Return the error of an HTTP error reply; a *status* of 0 stands for an error inside a stream."""
    document = parse_json(body)
    if not status:
        return classify_in_stream(document)
    if not isinstance(document, dict | list):
        return classify_error(ReportedError(message=read_plain_text(body)), status, headers, ERRORS)
    return classify_error(_read_report(document), status, headers, ERRORS)


def classify_in_stream(document: Any) -> SidecarError:
    """Return the error that an event or a document of status 200 reports."""
    return classify_stream_error(_read_report(document), ERRORS)


def reports_error(chunk: ChatChunk, event: str, extensions: list[dict[str, Any]]) -> bool:
    """Return whether *chunk*, with its *extensions*, is an error in one of the shapes that come with status 200."""
    if (chunk.error and _is_error(chunk.error)) or chunk.object == "error" or (event == "error" and not chunk.choices):
        return True
    if extensions and any(_is_error(extension.get("error")) for extension in extensions):
        return True
    return any(choice is not None and _is_error(choice.error) for choice in chunk.choices or ())


def _is_error(value: Any) -> bool:
    return any(value.values()) if isinstance(value, dict) else bool(value)


def _read_report(raw: Any) -> ReportedError:
    document = raw[0] if isinstance(raw, list) and raw else raw
    if not isinstance(document, dict):
        return ReportedError(message=_find_message(raw))
    reported = _find_error(document)
    error = reported if isinstance(reported, dict) else document
    inner, metadata = read_object(error.get("innererror")), read_object(error.get("metadata"))
    codes = list_codes(
        error.get("code"),
        inner.get("code"),
        error.get("type"),
        document.get("error_type"),
        metadata.get("error_type"),
        "flagged_input" if "flagged_input" in metadata else None,
        error.get("status_code"),
        document.get("status_code"),
    )
    # A code may carry more behind a colon, such as the model or the wait.
    codes = tuple(variant for code in codes for variant in dict.fromkeys((code, code.partition(":")[0])))
    message, upstream_message = _find_message(reported), _find_message(metadata.get("raw"))
    param = error.get("param")
    return ReportedError(
        message=f"{message}: {upstream_message}" if upstream_message else message,
        codes=codes,
        param=PARAMS.get(param) if isinstance(param, str) else None,
        request_id=read_text(document.get("request_id")) or read_text(document.get("generationId")) or None,
    )


def _find_error(document: dict[str, Any]) -> Any:
    """Return the part of *document* that reports the error: the document itself, when no part does."""
    choices, errors = document.get("choices"), document.get("errors")
    places = [document, *list_extensions(document), *(choices if isinstance(choices, list) else ())]
    for place in places:
        if isinstance(place, dict) and _is_error(place.get("error")):
            return place["error"]
    return errors[0] if isinstance(errors, list) and errors else document


def _find_message(value: Any, depth: int = 0) -> str:
    """Return the first message for people in *value*, wherever it stands."""
    if isinstance(value, list) and depth < MAX_DEPTH:
        return "; ".join(filter(None, (_find_message(each, depth + 1) for each in value[:3])))
    if isinstance(value, dict) and depth < MAX_DEPTH:
        messages = (_find_message(value.get(key), depth + 1) for key in ("message", "msg", "detail", "error"))
        return next(filter(None, messages), "")
    return read_text(value)
