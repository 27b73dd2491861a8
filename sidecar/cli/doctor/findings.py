"""What `sidecar doctor` has found, before anything is said about it. [pure]

No field holds a secret: of an address there is its origin, of a credential where it comes from.
"""

from typing import Any

import msgspec

Failure = dict[str, Any]
"""The `error` object of a reply."""


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """A folder in which the program keeps files."""

    path: str
    free_bytes: int | None = None
    """None: unknown."""
    problem: str | None = None
    """Why nothing can be written there."""
    is_full: bool = False
    """Whether that is because there is no room."""


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """The file of past requests."""

    path: str | None = None
    """None: it is switched off."""
    version: int | None = None
    """None: there is no file yet, or it cannot be used."""
    newest: int = 0
    """The version that this program writes."""
    problem: str | None = None


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy that the environment or the system names."""

    variable: str
    origin: str | None
    """Where it is; None: the value is no address of a proxy that can be used."""
    problem: str | None = None
    """Why it cannot be connected to."""


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A provider, as far as it was looked at."""

    id: str
    ready: bool
    needs_credential: bool = True
    was_named: bool = False
    """Whether the person has asked for this provider."""
    source: str | None = None
    env: tuple[str, ...] = ()
    expires_at: str | None = None
    problem: str | None = None
    origin: str | None = None
    """Where it is asked; None: unknown, or nowhere."""
    is_ipv6_only: bool = False
    reach_failure: Failure | None = None
    """Why its address could not be asked."""
    is_web_page: bool = False
    """Whether a page for browsers is at its address."""
    was_tested: bool = False
    """Whether the provider has accepted the credential."""
    test_failure: Failure | None = None


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was looked at."""

    program: str
    """Its version, and that of Python and of the system."""
    config_path: str
    config_exists: bool
    config_mistakes: tuple[str, ...] = ()
    home: str | None
    """The folder of what is stored; None: there is none."""
    folders: tuple[Folder, ...] = ()
    store_warnings: tuple[tuple[str, str], ...] = ()
    """Code and message."""
    locked: tuple[str, ...] = ()
    """Providers whose credential is in a keychain that does not give it."""
    uses_keychain: bool = True
    ledger: Ledger = Ledger()
    proxies: tuple[Proxy, ...] = ()
    missing_roots: str | None = None
    """The variable that names a file or folder of certificates that is not there."""
    clock_ahead_seconds: float | None = None
    """How far this machine's clock is ahead of the providers'; None: none of them has told the time."""
    has_ipv6: bool = True
    providers: tuple[Provider, ...] = ()
