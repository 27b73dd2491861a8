"""Whether a proxy is configured. Which one, and for which hosts, is for the HTTP client to decide."""

import os

from sidecar.core import platforms

_NAMES = frozenset({"http", "https", "all"})


def find_any() -> bool:
    """Return whether the environment, or else the system's settings, name a proxy."""
    if any(name.lower() in {f"{each}_proxy" for each in _NAMES} for name, value in os.environ.items() if value):
        return True
    if not platforms.WINDOWS and not platforms.MACOS:
        return False
    from urllib.request import getproxies  # Slow, and what the client for proxies uses.

    return not _NAMES.isdisjoint(getproxies())
