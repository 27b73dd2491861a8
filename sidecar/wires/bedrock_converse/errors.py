"""The failures of Amazon Bedrock: exceptions by name and by what their messages add. [pure]

Sources: botocore 1.44.5 (`bedrock-runtime/2023-09-30/service-2.json`, `parsers.py`), read 2026-11.
"""

import re
from typing import NamedTuple

import msgspec

from protocol.errors import ErrorCode
from sidecar.core.errors import RETRYABLE, SidecarError
from sidecar.core.json_values import parse_json
from sidecar.wires.shared.aws_signatures import CLOCK_SKEW, read_signing_times
from sidecar.wires.shared.error_rules import ReportedError, Rule, classify_error, list_codes, read_plain_text
from sidecar.wires.shared.errors import make_unexpected_body_error

_LOGIN = "Log in to AWS again, with `aws sso login` where you use it."

ERRORS: dict[str, Rule] = {
    "AccessDeniedException": Rule(
        "permission_denied", hint="Ask for access to the model in the Bedrock console, and look at the IAM policy."
    ),
    "ExpiredTokenException": Rule("auth_required", hint=_LOGIN),
    "ExpiredToken": Rule("auth_required", hint=_LOGIN),
    "MissingAuthenticationTokenException": Rule("auth_required"),
    "UnrecognizedClientException": Rule("auth_failed", hint="Check the credentials: AWS does not know them."),
    "InvalidClientTokenId": Rule("auth_failed", hint="Check the credentials: AWS does not know them."),
    "IncompleteSignatureException": Rule("auth_failed"),
    "InvalidSignatureException": Rule("auth_failed", hint="Check the secret key and the region."),
    "SignatureDoesNotMatch": Rule("auth_failed", hint="Check the secret key and the region."),
    "RequestTimeTooSkewed": Rule("auth_failed"),
    "RequestExpired": Rule("auth_failed"),
    "ThrottlingException": Rule("rate_limited"),
    "TooManyRequestsException": Rule("rate_limited"),
    "ServiceQuotaExceededException": Rule("quota_exceeded", hint="Ask for a higher quota in the AWS console."),
    "ModelNotReadyException": Rule("provider_overloaded"),
    "ServiceUnavailableException": Rule("provider_overloaded"),
    "ModelTimeoutException": Rule("provider_error"),
    "ModelErrorException": Rule("provider_error"),
    "ModelStreamErrorException": Rule("provider_error"),
    "InternalServerException": Rule("provider_error"),
    "InternalFailure": Rule("provider_error"),
    "ResourceNotFoundException": Rule("model_not_found"),
    "UnknownOperationException": Rule("invalid_request", hint="Is the base_url that of a Bedrock runtime?"),
}
"""By exception. What is not here, a ValidationException above all, is judged by its message and its status."""


class _Case(NamedTuple):
    """A message that says more than its exception, where the failure was judged to be one of `of`."""

    of: frozenset[ErrorCode]
    pattern: re.Pattern[str]
    code: ErrorCode
    reason: str | None = None
    hint: str | None = None


def _case(
    of: tuple[ErrorCode, ...], pattern: str, code: ErrorCode, reason: str | None = None, hint: str | None = None
) -> _Case:
    return _Case(frozenset(of), re.compile(pattern, re.IGNORECASE), code, reason, hint)


_CASES = (
    _case(
        ("invalid_request",),
        r"on-demand throughput isn.{1,3}t supported",
        "invalid_request",
        "needs_inference_profile",
        "Ask for the model through an inference profile, such as `us.` or `global.` before its id.",
    ),
    _case(("invalid_request",), r"model identifier is invalid", "model_not_found"),
    _case(("invalid_request",), r"tool use in streaming mode", "invalid_request", "no_streaming_tools"),
    _case(("invalid_request",), r"too many input tokens", "context_length_exceeded"),
    _case(
        ("permission_denied", "invalid_request"),
        r"did not allow prompt caching",
        "invalid_request",
        "no_prompt_caching",
        "Leave out `cache`: the model has none.",
    ),
    _case(
        ("permission_denied",),
        r"api key is (?:in)?valid|invalid api key|bearer token has expired",
        "auth_failed",
        hint="Check the Bedrock key, or make a new one: short-term keys last 12 hours.",
    ),
    _case(("rate_limited",), r"tokens per day", "quota_exceeded", None, "Wait for tomorrow or ask for a higher quota."),
    _case(
        ("auth_failed",), r"signature expired|signature not yet current|time.{1,20}skewed", "auth_failed", CLOCK_SKEW
    ),
)
"""The first that fits counts."""


def classify(status: int, headers: dict[str, str], body: bytes) -> SidecarError:
    """Return the failure of an HTTP error reply."""
    fault = _fault(body, headers.get("x-amzn-errortype"))
    return _judged(msgspec.structs.replace(fault, retry_after_ms=_retry_after_ms(headers)), status, headers)


def in_stream(code: str, data: bytes) -> SidecarError:
    """Return the failure of an exception, or of an error, which has a text for a payload."""
    fault = _fault(data, code)
    # This exception says no more than the status that usually comes with it, so it is judged as that status is.
    status = 400 if "ValidationException" in fault.codes else None
    return _judged(fault, status, {}).with_(provider_status=None)


def no_message(body: bytes) -> SidecarError:
    """Return the failure of a JSON object that is no message: what it says of an error, or that it is a stranger's."""
    fault = _fault(body, None)
    return _judged(fault, None, {}) if fault.codes or fault.message else make_unexpected_body_error()


def _fault(body: bytes, code: str | None) -> ReportedError:
    raw = parse_json(body)
    if not isinstance(raw, dict):
        return ReportedError(message=read_plain_text(body), codes=_codes(code))
    output = raw.get("Output")
    return ReportedError(
        message=next((text for key in _MESSAGE_KEYS if isinstance(text := raw.get(key), str) and text), ""),
        codes=_codes(
            code,
            raw.get("__type"),
            raw.get("code"),
            raw.get("Code"),
            output.get("__type") if isinstance(output, dict) else None,
        ),
    )


_MESSAGE_KEYS = ("message", "Message", "originalMessage")


def _codes(*raw: object) -> tuple[str, ...]:
    """Return exceptions' names as the service model has them: without addresses, and with a capital."""
    names = (word.partition(":")[0].rpartition("#")[2] for word in list_codes(*raw))
    return tuple(name[:1].upper() + name[1:] for name in names if name)


def _retry_after_ms(headers: dict[str, str]) -> int | None:
    # AWS's own header is in milliseconds.
    value = headers.get("x-amz-retry-after", "")
    return int(value) or None if value.isascii() and value.isdigit() else None


def _judged(fault: ReportedError, status: int | None, headers: dict[str, str]) -> SidecarError:
    error = classify_error(fault, status, headers, ERRORS)
    for case in _CASES:
        if error.body.code in case.of and case.pattern.search(fault.message):
            hint = _clock_hint(fault.message) if case.reason == CLOCK_SKEW else case.hint
            return error.with_(code=case.code, retryable=case.code in RETRYABLE, reason=case.reason, hint=hint)
    return error


def _clock_hint(message: str) -> str:
    times = read_signing_times(message)
    off = f"off by {round(abs(times[1] - times[0]).total_seconds() / 60)} min" if times else "wrong"
    return f"The system clock is {off}: set it."
