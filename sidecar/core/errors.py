"""The one exception of the program, and the rules for its text. [pure]

Knows the error codes, and what makes a text safe to show. Must not know providers or HTTP.
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
"""The codes after which the same request may succeed, unless the cause says otherwise."""

FINAL_REASONS = frozenset({"event_too_large", "content_encoding"})
"""The reasons that say otherwise: the same request would do the same again, at the user's cost."""

_UNSAFE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Control characters other than white space, and bidirectional and invisible characters. No message shows them."""

_SECRETS = re.compile(
    r"(?:sk|pk|rk|gsk|csk|vck|hf|ghp|gho|ghu|ghs|glpat|AIza|ya29)[-_.][\w*.\-]{6,}|\b[a-z]{3}-[A-Za-z0-9*]{20,}"
    r"|github_pat_\w{6,}|AIza[\w-]{20,}|AKIA[A-Z0-9]{12,}|eyJ[\w-]{10,}\.[\w-]{10,}(?:\.[\w-]*)?"
    r"|(?i:bearer|basic)\s+[\w.~+/=-]{8,}"
)
"""Patterns of credentials. Providers are known to repeat credentials in their messages."""


class SidecarError(Exception):
    """A failure with a code of the protocol. `body` is its `error` object, which `App.fail` completes."""

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
            retryable=code in RETRYABLE and reason not in FINAL_REASONS if retryable is None else retryable,
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
        """Return a copy with some fields of its body replaced."""
        error = SidecarError(self.body.code, self.body.message)
        error.body = msgspec.structs.replace(self.body, **fields)
        return error


def clean_text(text: str) -> str:
    """Return *text* as one bounded line that is safe to show: without control characters and known credentials."""
    # Invisible characters go first: inside a credential they would hide it from the pattern.
    text = " ".join(_UNSAFE.sub("", text[: MESSAGE_MAX_CHARS * 4]).split())
    # Once one credential is gone, the text beside it may match too.
    while (masked := _SECRETS.sub("[redacted]", text)) != text:
        text = masked
    if len(text) > MESSAGE_MAX_CHARS:
        text = text[: MESSAGE_MAX_CHARS - 1] + "…"
    return text


MIN_HIDDEN_CHARS = 8
"""The shortest credential that is searched for in a text. A shorter one could be a part of any word."""

_PIECE_CHARS = 12
"""How long a piece from either end of a credential must be to count as the credential."""

_MIDDLE_CHARS = 16
"""So many characters from within a credential are no coincidence."""

MAX_SEARCHED_CREDENTIAL_CHARS = 512
"""A longer credential is a token or a document, parts of which are in many texts."""

MAX_UNQUOTED = 3


def remove_secret(text: str, credential: str) -> str:
    """Return *text* with *credential* redacted: plain, in base64, percent-encoded, or a piece of either end."""
    if len(credential) < MIN_HIDDEN_CHARS:
        return text
    from urllib.parse import unquote  # Only failures need it.

    plain = text
    for _ in range(MAX_UNQUOTED):
        # Percent-encoded, perhaps more than once.
        plain = unquote(plain)
        if credential.lower() in plain.lower():
            text = plain
    for form in _list_spellings(credential):
        if form.lower() in text.lower():
            text = re.sub(re.escape(form), "[redacted]", text, flags=re.IGNORECASE)
    if len(credential) >= 2 * _PIECE_CHARS:
        first, last = re.escape(credential[:_PIECE_CHARS]), re.escape(credential[-_PIECE_CHARS:])
        text = re.sub(rf"{first}[\w.~+/=*-]*|[\w.~+/=*-]*{last}", "[redacted]", text)
    return _hide_middles(text, credential) if len(credential) <= MAX_SEARCHED_CREDENTIAL_CHARS else text


def _hide_middles(text: str, credential: str) -> str:
    """Return *text* without long pieces from within *credential*."""
    at = 0
    while at + _MIDDLE_CHARS <= len(text):
        end = at + _MIDDLE_CHARS
        if text[at:end] not in credential:
            at += 1
            continue
        while end < len(text) and text[at : end + 1] in credential:
            end += 1
        text = f"{text[:at]}[redacted]{text[end:]}"
        at += len("[redacted]")
    return text


def _list_spellings(credential: str) -> set[str]:
    from base64 import b32encode, b64encode  # As above.

    plain = credential.encode()
    spellings = {credential, plain.hex(), b32encode(plain).decode().rstrip("=")}
    for shift, first in ((0, 0), (1, 2), (2, 3)):
        # The characters that depend on this credential only, not on the text before and after it.
        last = (shift + len(plain)) * 8 // 6
        coded = b64encode(bytes(shift) + plain)[first:last].decode()
        spellings |= {coded, coded.replace("+", "-").replace("/", "_")}
    return spellings


def invalid_request(message: str, param: str | None = None, **fields: str) -> SidecarError:
    """Return the error `invalid_request` for the field at *param*."""
    return SidecarError("invalid_request", message, param=param, **fields)  # type: ignore[arg-type]  # optional str fields only
