"""The one exception of the program and the rules its text obeys. [pure]

Knows the error codes and how a text becomes safe to show. Must not know providers or HTTP.
"""

import re

import msgspec

from protocol.errors import ErrorBody, ErrorCode, Phase

MESSAGE_MAX_CHARS = 500

RETRYABLE: frozenset[ErrorCode] = frozenset(
    {
        "rate_limited",
        "queue_full",
        "provider_overloaded",
        "provider_error",
        "network_error",
        "timeout",
        "stream_interrupted",
        "shutting_down",
        "internal_error",
    }
)
"""Codes after which the same request may succeed, unless the cause says otherwise."""

_UNSAFE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Controls that are no white space, bidirectional and invisible characters: never shown from a provider's text."""

_SECRETS = re.compile(
    r"(?:sk|pk|rk|gsk|csk|vck|hf|ghp|gho|ghu|ghs|glpat|AIza|ya29)[-_.][\w*.\-]{6,}|\b[a-z]{3}-[A-Za-z0-9*]{20,}"
    r"|github_pat_\w{6,}|AIza[\w-]{20,}|AKIA[A-Z0-9]{12,}|eyJ[\w-]{10,}\.[\w-]{10,}(?:\.[\w-]*)?"
    r"|(?i:bearer|basic)\s+[\w.~+/=-]{8,}"
)
"""Shapes of credentials that providers are known to repeat in their messages."""


class SidecarError(Exception):
    """A failure with a code of the protocol; `body` is the `error` object, less what only the boundary knows."""

    def __init__(  # noqa: PLR0913 - one keyword per field of the error object
        self,
        code: ErrorCode,
        message: str,
        *,
        retryable: bool | None = None,
        retry_after_ms: int | None = None,
        provider_status: int | None = None,
        provider_code: str | None = None,
        request_id: str | None = None,
        phase: Phase | None = None,
        param: str | None = None,
        reason: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.body = ErrorBody(
            code=code,
            message=clean_text(message),
            retryable=code in RETRYABLE if retryable is None else retryable,
            retry_after_ms=retry_after_ms,
            provider_status=provider_status,
            provider_code=provider_code,
            request_id=request_id,
            phase=phase,
            param=param,
            reason=reason,
            hint=hint,
            partial=False,
        )
        super().__init__(self.body.message)

    def with_fields(self, **fields: object) -> "SidecarError":
        """Return the same failure with some fields of its body filled in."""
        error = SidecarError(self.body.code, self.body.message)
        error.body = msgspec.structs.replace(self.body, **fields)
        return error


def clean_text(text: str) -> str:
    """Return *text* fit for an error message: one bounded line without controls, credentials or bidi tricks."""
    # What is invisible goes first: it could stand within a credential and hide it.
    text = " ".join(_UNSAFE.sub("", text[: MESSAGE_MAX_CHARS * 4]).split())
    # What stood beside one credential may look like another once that is gone.
    while (masked := _SECRETS.sub("[redacted]", text)) != text:
        text = masked
    if len(text) > MESSAGE_MAX_CHARS:
        text = text[: MESSAGE_MAX_CHARS - 1] + "…"
    return text


MIN_HIDDEN_CHARS = 8
"""The shortest credential that is looked for in a text; a shorter one may be a part of any word."""

_PIECE_CHARS = 12
"""How much of a long credential's beginning or end tells it."""


def remove_secret(text: str, credential: str) -> str:
    """Return *text* without *credential*: plain, in base64, as in a URL, or a piece of its beginning or end."""
    if len(credential) < MIN_HIDDEN_CHARS:
        return text
    from urllib.parse import unquote  # Only a failure pays for it.

    if credential in (plain := unquote(text)):
        text = plain
    for form in _spellings(credential):
        text = text.replace(form, "[redacted]")
    if len(credential) >= 2 * _PIECE_CHARS:
        first, last = re.escape(credential[:_PIECE_CHARS]), re.escape(credential[-_PIECE_CHARS:])
        text = re.sub(rf"{first}[\w.~+/=*-]*|[\w.~+/=*-]*{last}", "[redacted]", text)
    return text


def _spellings(credential: str) -> set[str]:
    from base64 import b64encode  # As above.

    plain = credential.encode()
    found = {credential}
    for shift, first in ((0, 0), (1, 2), (2, 3)):
        # The characters that are of this credential alone, whatever stands before and after it.
        last = (shift + len(plain)) * 8 // 6
        coded = b64encode(bytes(shift) + plain)[first:last].decode()
        found |= {coded, coded.replace("+", "-").replace("/", "_")}
    return found


def invalid_request(message: str, param: str | None = None, **fields: str) -> SidecarError:
    """Return an `invalid_request` that names the field at *param*."""
    return SidecarError("invalid_request", message, param=param, **fields)  # type: ignore[arg-type]  # optional str fields only
