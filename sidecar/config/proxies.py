"""Which proxies are configured. For which hosts is for the HTTP client to decide, as long as it can use them all."""

import os
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sidecar.core import platforms

_NAMES = frozenset({"http", "https", "all"})


class NamedProxy(NamedTuple):
    """A proxy, and what names it."""

    variable: str
    url: str | None
    """None: it is of a kind that the HTTP client does not speak, such as SOCKS, or no address at all."""


def find_any() -> bool:
    """Return whether the environment, or else the system's settings, name a proxy."""
    if any(name.lower() in {f"{each}_proxy" for each in _NAMES} for name, value in os.environ.items() if value):
        return True
    if not platforms.WINDOWS and not platforms.MACOS:
        return False
    from urllib.request import getproxies  # Slow, and what the client for proxies uses.

    return not _NAMES.isdisjoint(getproxies())


def read_all() -> dict[str, NamedProxy]:
    """Return the proxies by the scheme of the addresses that they are for; `all` is for those without one."""
    from urllib.request import getproxies  # Slow.

    found = getproxies()
    return {each: NamedProxy(_find_variable(each), _check(found[each])) for each in _NAMES if found.get(each)}


def is_excluded(host: str) -> bool:
    """Return whether NO_PROXY, or the system's settings, say that *host* is asked without a proxy."""
    from urllib.request import proxy_bypass  # Slow.

    return bool(proxy_bypass(host))


def is_excluded_by_variable(host: str) -> bool:
    """Return whether NO_PROXY says so. The system's settings may have the name looked up, which takes its time."""
    if not (os.environ.get("no_proxy") or os.environ.get("NO_PROXY")):
        return False
    from urllib import request  # Slow.

    untyped: Any = request
    return bool(untyped.proxy_bypass_environment(host))


def _find_variable(scheme: str) -> str:
    # The lower case takes precedence, as everywhere.
    names = sorted(
        (name for name in os.environ if name.lower() == f"{scheme}_proxy" and os.environ[name]), reverse=True
    )
    return names[0] if names else "the system's setting"


def _check(value: str) -> str | None:
    url = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return url if usable and not parts.fragment and not parts.query else None
