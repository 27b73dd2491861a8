"""Credentials whose text is hidden from logs and errors. [pure]"""

import re
from typing import Literal

from sidecar.core.errors import invalid_request

Source = Literal["request", "configuration", "store", "environment", "none"]
"""Where a setting or a credential comes from. `none`: from the program itself."""

Kind = Literal["key", "token", "document"]
"""A long-lived key, a bearer token that was issued elsewhere, or a JSON document from which tokens are made."""

_KEY = re.compile(r"[\x21-\x7e]{1,8192}")
_DOCUMENT = re.compile(r"\{[\t\n\r\x20-\x7e]{1,16382}\}")


class Secret:
    """A credential and its source. Its `repr` is masked, and it cannot be serialized."""

    __slots__ = ("_value", "kind", "server", "source")

    def __init__(self, value: str, source: Source, kind: Kind = "key", server: str = "") -> None:
        self._value = value
        self.source: Source = source
        self.kind: Kind = kind
        self.server = server
        """The server of a stored credential, as `sidecar.providers.credential_rules.describe_server` describes it."""

    def reveal(self) -> str:
        """Return the plain value. Put it into a header at once."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret('***', source={self.source!r})"

    __str__ = __repr__


def parse_secret(value: str, source: Source, where: str, kind: Kind = "key") -> Secret:
    """Return *value*, trimmed, as a secret. A value of the kind `document` that is not a JSON object counts as a key.

    Raises: SidecarError `invalid_request` for *where* if no header can carry the key. It never repeats the key.
    """
    trimmed = value.strip()
    if kind == "document":
        if _DOCUMENT.fullmatch(trimmed):
            return Secret(trimmed, source, kind)
        kind = "key"
    if not _KEY.fullmatch(trimmed):
        raise invalid_request(f"`{where}` must be printable ASCII without spaces.", where)
    return Secret(trimmed, source, kind)
