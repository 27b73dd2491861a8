"""What a request is authorized with, which of it is secret, and how errors and records are freed of that. [pure]"""

from base64 import b64encode
from collections.abc import Iterable

import msgspec

from sidecar.core.errors import MIN_HIDDEN_CHARS, SidecarError, remove_secret

_TEXTS = ("message", "provider_code", "request_id", "hint", "param")


class Authorized(msgspec.Struct, frozen=True):
    """The headers that authorize a request. Its `repr` shows no value."""

    headers: dict[str, str] = {}
    """By lower-case name."""
    secret_names: frozenset[str] = frozenset()
    """The headers whose values nobody may see."""

    def __repr__(self) -> str:
        return f"Authorized({sorted(self.headers)})"

    def list_secrets(self) -> list[str]:
        """Return what of the headers is secret: a value without the name of its scheme, such as `Bearer`."""
        return [self.headers[name].rpartition(" ")[2] for name in sorted(self.secret_names) if name in self.headers]

    def carries(self, value: str) -> bool:
        """Return whether one of the secret headers has *value*."""
        return value in self.list_secrets()


def redact(error: SidecarError, secrets: Iterable[str]) -> SidecarError:
    """Return *error* with no text that repeats one of *secrets*: some servers repeat what they were asked with."""
    texts = {name: text for name in _TEXTS if (text := getattr(error.body, name))}
    redacted = dict(texts)
    for value in secrets:
        redacted = {name: remove_secret(text, value) for name, text in redacted.items()}
    return error if redacted == texts else error.with_fields(**redacted)


def redact_bytes(data: bytes, secrets: Iterable[str]) -> bytes:
    """Return *data* without *secrets*: plain, as JSON writes them, in base64 or percent-encoded."""
    from urllib.parse import quote  # Only recordings need it.

    for value in secrets:
        if len(value) >= MIN_HIDDEN_CHARS:
            plain = value.encode()
            for form in {
                plain,
                msgspec.json.encode(value)[1:-1],
                b64encode(plain).rstrip(b"="),
                quote(value, "").encode(),
            }:
                data = data.replace(form, b"[redacted]")
    return data
