"""The failures of Chat Completions and of the many that imitate it. [pure]

Knows error bodies and errors inside a stream, in the shapes of each imitation. Must not know what
an answer looks like. Sources: openai 3.52.0 (`_exceptions.py`), groq 1.7.0 (`chat_completion_chunk.py`),
openrouter 1.3.84 (`errors/`), vscode-copilot-chat (`chatMLFetcher.ts`), learn.microsoft.com, 2026-11.
"""

from typing import Any

from sidecar.core.errors import SidecarError
from sidecar.core.json_values import parse_json
from sidecar.wires.openai_chat.parts import ChatChunk, extensions, text_of
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
_BAD_CALL = Rule("provider_error", retryable=True, hint="The model wrote a tool call that is none; ask again.")

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
    "DeploymentNotFound": Rule("model_not_found", hint="A deployment that is new takes some minutes to be found."),
    "unsupported_api_for_model": Rule("invalid_request", hint="The model speaks another wire: see `options.wire`."),
    "tool_use_failed": _BAD_CALL,
    "json_validate_failed": _BAD_CALL,
}
"""By `error.code`, then the code inside, then `error.type`."""

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
"""The provider's `param` → the path of the host's own field."""

MAX_DEPTH = 4
"""How deep a message is looked for."""


def classify(status: int, headers: dict[str, str], body: bytes) -> SidecarError:
    """Return the failure of an HTTP error reply; a *status* of 0 stands for an error inside a stream."""
    raw = parse_json(body)
    if not status:
        return in_stream(raw)
    fault = _fault(raw) if isinstance(raw, dict | list) else ReportedError(message=read_plain_text(body))
    return classify_error(fault, status, headers, ERRORS)


def tells_failure(chunk: ChatChunk, event: str, own: list[dict[str, Any]]) -> bool:
    """Return whether *chunk*, with its extensions *own*, is an error in one of the shapes that come with status 200."""
    if (chunk.error and _is_error(chunk.error)) or chunk.object == "error" or (event == "error" and not chunk.choices):
        return True
    if own and any(_is_error(extension.get("error")) for extension in own):
        return True
    return any(choice is not None and _is_error(choice.error) for choice in chunk.choices or ())


def _is_error(value: Any) -> bool:
    return any(value.values()) if isinstance(value, dict) else bool(value)


def in_stream(raw: Any) -> SidecarError:
    """Return the failure that an event or a document of status 200 stands for."""
    return classify_stream_error(_fault(raw), ERRORS)


def _fault(raw: Any) -> ReportedError:
    whole = raw[0] if isinstance(raw, list) and raw else raw
    if not isinstance(whole, dict):
        return ReportedError(message=_said(raw))
    found = _error_of(whole)
    error = found if isinstance(found, dict) else whole
    inner, metadata = (error[key] if isinstance(error.get(key), dict) else {} for key in ("innererror", "metadata"))
    codes = list_codes(
        error.get("code"),
        inner.get("code"),
        error.get("type"),
        whole.get("error_type"),
        metadata.get("error_type"),
        "flagged_input" if "flagged_input" in metadata else None,
        error.get("status_code"),
        whole.get("status_code"),
    )
    # Codes may carry more behind a colon, such as the model or the wait.
    codes = tuple(word for code in codes for word in dict.fromkeys((code, code.partition(":")[0])))
    said, below = _said(found), _said(metadata.get("raw"))
    param = error.get("param")
    return ReportedError(
        message=f"{said}: {below}" if below else said,
        codes=codes,
        param=PARAMS.get(param) if isinstance(param, str) else None,
        request_id=text_of(whole.get("request_id")) or text_of(whole.get("generationId")) or None,
    )


def _error_of(whole: dict[str, Any]) -> Any:
    """Return the part of a document that tells the error: the document itself, when no part does."""
    choices, errors = whole.get("choices"), whole.get("errors")
    places = [whole, *extensions(whole), *(choices if isinstance(choices, list) else ())]
    for place in places:
        if isinstance(place, dict) and _is_error(place.get("error")):
            return place["error"]
    return errors[0] if isinstance(errors, list) and errors else whole


def _said(value: Any, depth: int = 0) -> str:
    """Return the first sentence that *value* has for people, wherever it keeps it."""
    if isinstance(value, list) and depth < MAX_DEPTH:
        return "; ".join(filter(None, (_said(each, depth + 1) for each in value[:3])))
    if isinstance(value, dict) and depth < MAX_DEPTH:
        sentences = (_said(value.get(key), depth + 1) for key in ("message", "msg", "detail", "error"))
        return next(filter(None, sentences), "")
    return text_of(value)
