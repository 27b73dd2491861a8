"""A secret that does not show itself. [pure]"""

import re
from typing import Literal

from sidecar.core.errors import invalid_request

Source = Literal["request", "configuration", "store", "environment", "none"]
"""Where a setting or a credential came from, `none` being the program itself."""

Kind = Literal["key", "token", "document"]
"""A long-lived key, a bearer token that was minted elsewhere, or a JSON document of which tokens are made."""

_KEY = re.compile(r"[\x21-\x7e]{1,8192}")
_DOCUMENT = re.compile(r"\{[\t\n\r\x20-\x7e]{1,16382}\}")


class Secret:
    """A credential and where it came from. Its `repr` is masked, and it does not serialize."""

    __slots__ = ("_value", "home", "kind", "source")

    def __init__(self, value: str, source: Source, kind: Kind = "key", home: str = "") -> None:
        self._value = value
        self.source: Source = source
        self.kind: Kind = kind
        self.home = home
        """Of a stored one: what it was given for, as `credential_rules.describe_server` says it."""

    def reveal(self) -> str:
        """Return the secret itself, to be put into a header at once."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret('***', source={self.source!r})"

    __str__ = __repr__


def parse_secret(value: str, source: Source, where: str, kind: Kind = "key") -> Secret:
    """Return *value*, trimmed, as a secret. A *kind* `document` is taken for a key where it is none.

    Raises: SidecarError `invalid_request` naming *where* for a key that no header can carry; it never says the key.
    """
    trimmed = value.strip()
    if kind == "document":
        if _DOCUMENT.fullmatch(trimmed):
            return Secret(trimmed, source, kind)
        kind = "key"
    if not _KEY.fullmatch(trimmed):
        raise invalid_request(f"`{where}` cannot be a credential: those are printable ASCII without spaces.", where)
    return Secret(trimmed, source, kind)
