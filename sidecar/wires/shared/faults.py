"""Provider failures → the closed set of codes. [pure]

One order for all wires, the first hit wins: the provider's machine code, then (for the
statuses that mean many things) the provider's own message, then the HTTP status. Each wire
brings the table of its machine codes; what providers share stands here.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from protocol.errors import ErrorCode
from sidecar.core.errors import SidecarError, clean


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider said about a failure, before it is judged."""

    message: str = ""
    codes: tuple[str, ...] = ()
    """Its machine words, the most specific first."""
    param: str | None = None
    request_id: str | None = None
    retry_after_ms: int | None = None


class Rule(NamedTuple):
    """What a machine code or a message means."""

    code: ErrorCode
    retryable: bool | None = None
    hint: str | None = None


Table = Mapping[str, Rule]

STATUSES: dict[int, Rule] = {
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
"""The statuses with a meaning of their own; of the rest, 4xx are `invalid_request` and the others `provider_error`."""

_AMBIGUOUS = frozenset({None, 400, 403, 413, 422, 424, 429, 500})
"""Where the message is looked at, None being an error inside a stream."""

MAX_JUDGED_CHARS = 8 * 1024
"""How much of a message is looked at: some repeat the whole prompt."""

_CONTEXT = Rule("context_length_exceeded", hint="Shorten the conversation or ask for fewer tokens.")
_QUOTA = Rule("quota_exceeded", hint="Check the plan and the balance of the account.")
_MESSAGES: tuple[tuple[re.Pattern[str], Rule], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), rule)
    for pattern, rule in (
        (
            (
                r"prompt is too long|exceed(?:s|ed)? (?:the )?(?:context limit|context window|model'?s context)"
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
            r"does not support assistant message prefill",
            Rule("invalid_request", hint="End the messages with a user turn."),
        ),
        (
            (
                r"model `?[\w./:@-]+`? (?:does not exist|not found|is not found)|no such model"
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
)


def judge(fault: Fault, status: int | None, headers: Mapping[str, str], table: Table) -> SidecarError:
    """Return the failure for *fault*, said with HTTP *status* or, where that is None or 0, inside a stream."""
    status = status or None
    rule = _rule(fault, status, table)
    message = clean(fault.message) or (
        f"The provider answered with status {status}." if status else "The provider failed."
    )
    return SidecarError(
        rule.code,
        message,
        retryable=rule.retryable if (told := _told_to_retry(headers)) is None else told,
        retry_after_ms=_bearable(fault.retry_after_ms) or retry_after_ms(headers),
        provider_status=status,
        provider_code=next((word for code in fault.codes if (word := _word(code))), None),
        request_id=_identifier(fault.request_id or "") or request_id(headers),
        param=clean(fault.param) if fault.param else None,
        reason="redirect" if status is not None and 300 <= status < 400 else None,
        hint=rule.hint,
    )


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
"""Words that say no more than the status that comes with them where the failure is one of HTTP."""

_HTTP_ERROR = re.compile("[45][0-9][0-9]")


def judge_in_stream(fault: Fault, table: Table) -> SidecarError:
    """Return the failure for *fault*, said inside a reply of status 200: as if it had come with its usual status."""
    usual = (USUAL_STATUSES.get(code) or (int(code) if _HTTP_ERROR.fullmatch(code) else None) for code in fault.codes)
    return judge(fault, next(filter(None, usual), None), {}, table).with_(provider_status=None)


def _rule(fault: Fault, status: int | None, table: Table) -> Rule:
    for code in fault.codes:
        if rule := table.get(code):
            return rule
    if status in _AMBIGUOUS:
        said = fault.message[:MAX_JUDGED_CHARS]
        for pattern, rule in _MESSAGES:
            if pattern.search(said):
                return rule
    if status is None:
        return Rule("provider_error")
    if 300 <= status < 400:
        return Rule("provider_error", retryable=False)
    return STATUSES.get(status) or Rule("invalid_request" if 400 <= status < 500 else "provider_error")


def _word(code: str) -> str | None:
    return re.sub(r"[^A-Za-z0-9_.:-]", "_", clean(code))[:64] or None


def _told_to_retry(headers: Mapping[str, str]) -> bool | None:
    return {"true": True, "false": False}.get(headers.get("x-should-retry", ""))


REQUEST_ID_HEADERS = (
    "request-id",
    "x-request-id",
    "x-amzn-requestid",
    "apim-request-id",
    "x-github-request-id",
    "x-goog-request-id",
    "x-generation-id",
    "cf-aig-log-id",
    "cf-ray",
)


def request_id(headers: Mapping[str, str]) -> str | None:
    """Return the provider's id of the request, from the first header that has one."""
    for name in REQUEST_ID_HEADERS:
        if value := headers.get(name):
            return _identifier(value)
    return None


def _identifier(value: str) -> str | None:
    return re.sub(r"[^\x21-\x7e]", "", clean(value))[:128] or None


MAX_RETRY_AFTER_MS = 366 * 86_400_000
"""A year: whoever asks to wait for longer is not believed."""


def retry_after_ms(headers: Mapping[str, str]) -> int | None:
    """Return how long the provider asks to wait; what is not positive, finite or readable is ignored."""
    for name, unit in (("retry-after-ms", 1), ("x-ms-retry-after-ms", 1), ("retry-after", 1000)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            wait = float(value) * unit
        except ValueError:
            wait = _until(value, headers.get("date"))
        if told := _bearable(wait):
            return told
    return None


def _bearable(wait_ms: float | None) -> int | None:
    # Written so that it is false for what is no number.
    return math.ceil(wait_ms) if wait_ms is not None and 0 < wait_ms <= MAX_RETRY_AFTER_MS else None


def _until(value: str, now: str | None) -> float:
    # The provider's own clock is the base, so that a wrong local clock does no harm.
    from email.utils import parsedate_to_datetime

    try:
        return (parsedate_to_datetime(value) - parsedate_to_datetime(now or "")).total_seconds() * 1000
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0


def document(body: bytes) -> Any:
    """Return *body* as JSON, or None when it is none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def text(body: bytes) -> str:
    """Return the message of a *body* that is no JSON: plain text as it is, nothing of an HTML page."""
    plain = body.decode("utf-8", "replace").strip()
    return "" if plain.startswith("<") else plain


def words(*values: object) -> tuple[str, ...]:
    """Return the *values* that can be machine codes, as strings."""
    return tuple(_words(values))


def _words(values: tuple[object, ...]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str) and value:
            yield value
        elif isinstance(value, int) and not isinstance(value, bool):
            yield str(value)


def bad_event() -> SidecarError:
    """Return the failure for an event that cannot be read."""
    return SidecarError("provider_error", "The provider sent an event that is not readable.", reason="bad_event")


def interrupted() -> SidecarError:
    """Return the failure for a stream that ended before its terminal marker."""
    return SidecarError("stream_interrupted", "The stream ended before the provider said that it was complete.")


def unexpected_body() -> SidecarError:
    """Return the failure for a reply of status 200 that is not what was asked for."""
    return SidecarError(
        "provider_error",
        "The provider answered with something that is no answer of its API.",
        reason="unexpected_content_type",
        hint="Is a captive portal, a proxy or a wrong base_url answering?",
    )
