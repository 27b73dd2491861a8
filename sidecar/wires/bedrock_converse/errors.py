"""Errors of Amazon Bedrock: exceptions by name, and by what their messages add. [pure]

Sources: botocore 1.44.5 (`bedrock-runtime/2023-09-30/service-2.json`, `parsers.py`), read 2026-11.
"""

import re
from typing import NamedTuple

import msgspec

from protocol.errors import ErrorCode
from sidecar.core.errors import RETRYABLE, SidecarError
from sidecar.core.json_values import parse_json, read_object, read_text
from sidecar.wires.shared.aws_signatures import CLOCK_SKEW, read_signing_times
from sidecar.wires.shared.error_rules import ReportedError, Rule, classify_error, list_codes, read_plain_text
from sidecar.wires.shared.errors import make_unexpected_body_error

_LOGIN = "Log in to AWS again: with `aws sso login`, if you use SSO."

ERRORS: dict[str, Rule] = {
    "AccessDeniedException": Rule(
        "permission_denied", hint="Ask for access to the model in the Bedrock console, and check the IAM policy."
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
    "UnknownOperationException": Rule("invalid_request", hint="Check that the base_url is that of a Bedrock runtime."),
}
"""By exception. All others, ValidationException above all, are classified by message and status."""


class _Case(NamedTuple):
    """A message that says more than its exception, for errors that were classified as one of `codes`."""

    codes: frozenset[ErrorCode]
    pattern: re.Pattern[str]
    code: ErrorCode
    reason: str | None = None
    hint: str | None = None


def _make_case(
    codes: tuple[ErrorCode, ...], pattern: str, code: ErrorCode, reason: str | None = None, hint: str | None = None
) -> _Case:
    return _Case(frozenset(codes), re.compile(pattern, re.IGNORECASE), code, reason, hint)


_CASES = (
    _make_case(
        ("invalid_request",),
        r"on-demand throughput isn.{1,3}t supported",
        "invalid_request",
        "needs_inference_profile",
        "Name an inference profile of the model: put `us.`, `global.` or the like before its id.",
    ),
    _make_case(("invalid_request",), r"model identifier is invalid", "model_not_found"),
    _make_case(("invalid_request",), r"tool use in streaming mode", "invalid_request", "no_streaming_tools"),
    _make_case(("invalid_request",), r"too many input tokens", "context_length_exceeded"),
    _make_case(
        ("permission_denied", "invalid_request"),
        r"did not allow prompt caching",
        "invalid_request",
        "no_prompt_caching",
        "Leave out `cache`: the model has no prompt caching.",
    ),
    _make_case(
        ("permission_denied",),
        r"api key is (?:in)?valid|invalid api key|bearer token has expired",
        "auth_failed",
        hint="Check the Bedrock key, or create a new one: short-term keys last 12 hours.",
    ),
    _make_case(
        ("rate_limited",), r"tokens per day", "quota_exceeded", None, "Wait until tomorrow, or ask for a higher quota."
    ),
    _make_case(
        ("auth_failed",), r"signature expired|signature not yet current|time.{1,20}skewed", "auth_failed", CLOCK_SKEW
    ),
)
"""The first match counts."""


def classify(status: int, headers: dict[str, str], body: bytes) -> SidecarError:
    """Return the error of an HTTP error reply."""
    reported = _read_report(body, headers.get("x-amzn-errortype"))
    reported = msgspec.structs.replace(reported, retry_after_ms=_read_retry_after_ms(headers))
    return _classify_report(reported, status, headers)


def classify_in_stream(code: str, data: bytes) -> SidecarError:
    """Return the error of an exception frame (*data* is JSON) or of an error frame (*data* is text)."""
    reported = _read_report(data, code)
    # A validation exception says no more than its usual status, so it is classified like that status.
    status = 400 if "ValidationException" in reported.codes else None
    return _classify_report(reported, status, {}).with_fields(provider_status=None)


def classify_document(body: bytes) -> SidecarError:
    """Return the error of a reply of status 200 that is not a message: the one it reports, if it reports one."""
    reported = _read_report(body, None)
    if not reported.codes and not reported.message:
        return make_unexpected_body_error()
    return _classify_report(reported, None, {})


MAX_DIGITS = 12
"""A wait with more digits, in milliseconds, is not believed."""

_MESSAGE_FIELDS = ("message", "Message", "originalMessage")


def _read_report(body: bytes, code: str | None) -> ReportedError:
    document = parse_json(body)
    if not isinstance(document, dict):
        return ReportedError(message=read_plain_text(body), codes=_list_exceptions(code))
    inner_type = read_object(document.get("Output")).get("__type")
    return ReportedError(
        message=next((text for field in _MESSAGE_FIELDS if (text := read_text(document.get(field)))), ""),
        codes=_list_exceptions(code, document.get("__type"), document.get("code"), document.get("Code"), inner_type),
    )


def _list_exceptions(*values: object) -> tuple[str, ...]:
    """Return the exceptions in *values* as the service model names them: without a namespace, and capitalized."""
    names = (code.partition(":")[0].rpartition("#")[2] for code in list_codes(*values))
    return tuple(name[:1].upper() + name[1:] for name in names if name)


def _read_retry_after_ms(headers: dict[str, str]) -> int | None:
    # AWS's own header is in milliseconds.
    value = headers.get("x-amz-retry-after", "")
    return int(value) or None if value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS else None


def _classify_report(reported: ReportedError, status: int | None, headers: dict[str, str]) -> SidecarError:
    error = classify_error(reported, status, headers, ERRORS)
    for case in _CASES:
        if error.body.code in case.codes and case.pattern.search(reported.message):
            hint = _describe_skew(reported.message) if case.reason == CLOCK_SKEW else case.hint
            return error.with_fields(code=case.code, retryable=case.code in RETRYABLE, reason=case.reason, hint=hint)
    return error


def _describe_skew(message: str) -> str:
    times = read_signing_times(message)
    skew = f"off by {round(abs(times[1] - times[0]).total_seconds() / 60)} min" if times else "wrong"
    return f"The system clock is {skew}: set it."
