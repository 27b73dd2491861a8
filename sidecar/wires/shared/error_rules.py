"""A provider's report of an error → one of the protocol's error codes. [pure]

The order is the same for all wires, and the first match wins: the provider's machine code, then
its message (for the statuses that mean many things), then the HTTP status. Each wire brings the
table of its machine codes; what providers have in common stands here.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from protocol.errors import ErrorCode
from sidecar.core.errors import SidecarError, clean_text
from sidecar.wires.shared.reply_headers import bound_wait_ms, clean_id, read_request_id, read_retry_after_ms


class ReportedError(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider reported about an error, before it is classified."""

    message: str = ""
    codes: tuple[str, ...] = ()
    """Its machine codes, the most specific first."""
    param: str | None = None
    request_id: str | None = None
    retry_after_ms: int | None = None


class Rule(NamedTuple):
    """What a machine code or a message means."""

    code: ErrorCode
    retryable: bool | None = None
    hint: str | None = None


RuleTable = Mapping[str, Rule]
"""Rules by machine code."""

STATUS_RULES: dict[int, Rule] = {
    400: Rule("invalid_request"),
    401: Rule("auth_failed", hint="Check the key, or log in again."),
    402: Rule("quota_exceeded", hint="Check the plan and the balance of the account."),
    403: Rule("permission_denied"),
    404: Rule("model_not_found"),
    405: Rule("invalid_request"),
    407: Rule("network_error", retryable=False, hint="The proxy asks for a login."),
    408: Rule("provider_error"),
    409: Rule("provider_error"),
    410: Rule("model_not_found"),
    413: Rule("invalid_request"),
    415: Rule("invalid_request"),
    422: Rule("invalid_request"),
    424: Rule("provider_error"),
    429: Rule("rate_limited"),
    431: Rule("invalid_request"),
    451: Rule("permission_denied"),
    466: Rule("permission_denied", hint="The provider asks for a newer client."),
    498: Rule("provider_overloaded"),
    499: Rule("provider_error"),
    503: Rule("provider_overloaded"),
    529: Rule("provider_overloaded"),
}
"""Statuses with a meaning of their own. Of the rest, 4xx are `invalid_request` and the others `provider_error`."""

_AMBIGUOUS = frozenset({None, 400, 403, 413, 422, 424, 429, 500})
"""Statuses for which the message is searched. None stands for an error inside a stream."""

MAX_SEARCHED_CHARS = 8 * 1024
"""How much of a message is searched: some repeat the whole prompt."""

_CONTEXT = Rule("context_length_exceeded", hint="Shorten the conversation or ask for fewer tokens.")
_QUOTA = Rule("quota_exceeded", hint="Check the plan and the balance of the account.")
_MESSAGE_RULES: tuple[tuple[str, Rule], ...] = (
    (
        (
            r"^(?:\w+Error: )?litellm\.ContextWindowExceededError:"
            r"|prompt is too long|exceed(?:s|ed)? (?:the )?(?:context limit|context window|model'?s context)"
            r"|maximum context l(?:ength|imit)|longer than the model'?s context length"
            r"|input tokens exceed|inputs` tokens \+ `max_new_tokens` must be"
            r"|exceeds the available context size|exceeds the maximum number of tokens allowed"
            r"|current length is .{1,40} while limit is|maximum input length is"
            r"|input is too long|too many tokens|request too large for|context_length_exceeded"
        ),
        _CONTEXT,
    ),
    (
        (
            r"credit balance is too low|spend(?:ing)? limit|exceeded your current quota"
            r"|insufficient (?:balance|quota)|have any credits|used up your daily free allocation"
        ),
        _QUOTA,
    ),
    (
        (
            r"(?:incorrect|invalid|no valid|missing) (?:x-)?api[ -]?key|api key (?:is )?(?:not valid|invalid)"
            r"|invalid authentication"
        ),
        Rule("auth_failed"),
    ),
    (
        # The words of nginx, and of servers written in Go.
        r"plain HTTP request was sent to HTTPS port|sent an HTTP request to an HTTPS server",
        Rule("invalid_request", hint="The server speaks TLS at this port: write https:// in `base_url`."),
    ),
    (
        r"no required SSL certificate was sent|SSL certificate error",
        Rule("permission_denied", hint="The server asks for a client certificate, which cannot be sent."),
    ),
    (
        r"does not support assistant message prefill",
        Rule("invalid_request", hint="End the messages with a user turn."),
    ),
    (
        (
            r"model `?[\w./:@-]+`? (?:does not exist|not found|is not found)|no such model"
            r"|invalid model name passed"
            r"|do(?:es)? not have access to model"
        ),
        Rule("model_not_found"),
    ),
    (
        r"\boverloaded\b|at capacity|out of capacity|no capacity|capacity (?:temporarily )?exceeded",
        Rule("provider_overloaded"),
    ),
    (r"content (?:management )?policy|safety system|usage policies|responsible ?ai", Rule("content_filtered")),
)
"""Patterns without case, of which the first that is found counts. They are compiled for the first error."""


def classify_error(
    reported: ReportedError, status: int | None, headers: Mapping[str, str], table: RuleTable
) -> SidecarError:
    """Return the failure that was *reported* with HTTP *status*, or inside a stream where that is None or 0."""
    status = status or None
    rule = _find_rule(reported, status, table)
    message = clean_text(reported.message) or (
        f"The provider answered with status {status}." if status else "The provider failed."
    )
    retryable = _read_should_retry(headers)
    return SidecarError(
        rule.code,
        message,
        retryable=rule.retryable if retryable is None else retryable,
        retry_after_ms=bound_wait_ms(reported.retry_after_ms) or read_retry_after_ms(headers),
        provider_status=status,
        provider_code=_pick_code(reported.codes, status),
        request_id=clean_id(reported.request_id or "") or read_request_id(headers),
        param=clean_text(reported.param) if reported.param else None,
        reason="redirect" if status is not None and 300 <= status < 400 else None,
        hint=_explain_move(headers) if rule is _MOVED else rule.hint,
    )


_MOVED = Rule("provider_error", retryable=False)
"""The rule of a redirect, which is never followed: a key belongs to the origin that it was given for."""

_ORIGIN = re.compile(r"(https?://[a-z0-9.-]{1,253}(?::[0-9]{1,5})?)(?=[/?#]|$)", re.IGNORECASE)


def _explain_move(headers: Mapping[str, str]) -> str:
    """Return the hint for a redirect. Of its target, only the origin is shown: a path or a query may hold anything."""
    origin = _ORIGIN.match(headers.get("location", ""))
    to = f" to {origin[1].lower()}" if origin else ""
    return f"The server says that it has moved{to}: check `base_url`, such as https:// in the place of http://."


USUAL_STATUSES: dict[str, int] = {
    "invalid_request_error": 400,
    "unsupported_value": 400,
    "unsupported_parameter": 400,
    "not_found_error": 404,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "too_many_requests": 429,
    "slow_down": 429,
    "service_unavailable_error": 503,
}
"""Machine codes that say no more than the HTTP status that usually comes with them."""

_HTTP_ERROR = re.compile("[45][0-9][0-9]")


def classify_stream_error(reported: ReportedError, table: RuleTable) -> SidecarError:
    """Return the failure that was *reported* inside a reply of status 200, as if it had come with its usual status."""
    statuses = (
        USUAL_STATUSES.get(code) or (int(code) if _HTTP_ERROR.fullmatch(code) else None) for code in reported.codes
    )
    return classify_error(reported, next(filter(None, statuses), None), {}, table).with_fields(provider_status=None)


def _find_rule(reported: ReportedError, status: int | None, table: RuleTable) -> Rule:
    for code in reported.codes:
        if rule := table.get(code):
            return rule
    if status in _AMBIGUOUS:
        message = reported.message[:MAX_SEARCHED_CHARS]
        for pattern, rule in _MESSAGE_RULES:
            if re.search(pattern, message, re.IGNORECASE):
                return rule
    if status is None:
        return Rule("provider_error")
    if 300 <= status < 400:
        return _MOVED
    return STATUS_RULES.get(status) or Rule("invalid_request" if 400 <= status < 500 else "provider_error")


def _pick_code(codes: tuple[str, ...], status: int | None) -> str | None:
    """Return the most specific of the machine codes: one that repeats the status says least."""
    words = [word for code in codes if (word := _clean_code(code))]
    return next((word for word in words if word != str(status)), words[0] if words else None)


def _clean_code(code: str) -> str | None:
    return re.sub(r"[^A-Za-z0-9_.:-]", "_", clean_text(code))[:64] or None


def _read_should_retry(headers: Mapping[str, str]) -> bool | None:
    return {"true": True, "false": False}.get(headers.get("x-should-retry", ""))


def read_plain_text(body: bytes) -> str:
    """Return the message of a *body* that is not JSON: plain text as it is, of an HTML page its title."""
    text = body.decode("utf-8", "replace").strip()
    if not text.startswith("<"):
        return text
    # Servers and proxies say there what is wrong, such as that a port wants TLS.
    title = _TITLE.search(text[:MAX_TITLE_PLACE])
    return " ".join(title[1].split()) if title else ""


MAX_TITLE_PLACE = 4096
"""Where a title ends that is looked for."""

_TITLE = re.compile(r"<title>([^<&]{1,200})</title>", re.IGNORECASE)


def list_codes(*values: object) -> tuple[str, ...]:
    """Return the *values* that can be machine codes, as strings."""
    return tuple(_select_codes(values))


def _select_codes(values: tuple[object, ...]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str) and value:
            yield value
        elif isinstance(value, int) and not isinstance(value, bool):
            yield str(value)
