"""Whether there is a proxy to be asked through. Which one, and for whom, is for the client that speaks to it."""

import os

from sidecar.core import platforms

_NAMES = frozenset({"http", "https", "all"})


def are_set() -> bool:
    """Return whether the environment names a proxy, or the system's settings where the environment does not."""
    if any(name.lower() in {f"{each}_proxy" for each in _NAMES} for name, value in os.environ.items() if value):
        return True
    if not platforms.WINDOWS and not platforms.MACOS:
        return False
    from urllib.request import getproxies  # Slow, and the one that the client for proxies asks.

    return not _NAMES.isdisjoint(getproxies())
