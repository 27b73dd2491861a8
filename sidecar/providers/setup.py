"""What providers are resolved from: what the user has set, and what was found since the process started.

These are two values: `Config` never changes, and `Found` is replaced whenever there is something new. Both are plain
data, because even a process that only answers pings loads them.
"""

from collections.abc import Mapping

import msgspec

from sidecar.catalogue.corrections import Overlay, Refreshed
from sidecar.config.values import Config
from sidecar.core.secret import Secret


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What was found when the sidecar last looked, by provider."""

    credentials: Mapping[str, Secret] = {}
    """Stored credentials."""
    stored_settings: Mapping[str, Mapping[str, str]] = {}
    """What the user has stored with them."""
    locked: frozenset[str] = frozenset()
    """Providers whose stored credential a keychain does not give now."""
    identities: frozenset[str] = frozenset()
    """Providers for which this machine has an identity in a file."""
    logins: Mapping[str, str | None] = {}
    """Providers for which another program has left a login, and its account where the file names one."""
    settings: Mapping[str, Mapping[str, str]] = {}
    """Settings that the machine's own credentials know and nobody has set."""
    refreshed: Refreshed = Refreshed()
    """The refreshed catalogue."""

    def __repr__(self) -> str:
        # A refreshed catalogue has thousands of rows.
        return "Found()"


class Setup(msgspec.Struct, frozen=True):
    """Both, as one request sees them."""

    config: Config
    found: Found = Found()

    @property
    def overlay(self) -> Overlay:
        """What is known of models beside the built-in table."""
        return Overlay(self.config.corrections, self.found.refreshed)
