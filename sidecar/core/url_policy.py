"""The addresses to which a request may be sent. [pure]

Knows URLs and networks. Must not know providers.
"""

import ipaddress
import re
from urllib.parse import urlsplit

from sidecar.core.errors import invalid_request

MAX_URL_CHARS = 2048

_PORT = re.compile(r"[0-9]{1,5}")

_METADATA = frozenset(map(ipaddress.IPv6Address, ("fd00:ec2::254", "fd20:ce::254")))
"""The addresses, besides 169.254.169.254, at which machines of a cloud get their own credentials.

Sources: AWS, "Use the Instance Metadata Service"; Google Cloud, "About VM metadata"; both read 2026-11.
"""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""The form of IPv4 addresses in an IPv6-only network. RFC 6052."""


def check_base_url(url: str, where: str, *, private_network: bool) -> str:
    """Return *url* without a trailing slash if a key and a prompt may be sent there.

    Allowed are https to any address but link-local ones, and plain http to this machine; with *private_network*, when
    the user has chosen the server, also plain http to private addresses.

    Raises: SidecarError `invalid_request` for *where*. It never repeats the address.
    """
    if len(url) > MAX_URL_CHARS or not url.isascii() or any(c <= " " or c == "\x7f" or c in '<>"\\^`{|}' for c in url):
        raise invalid_request(
            f"`{where}` must be a URL in ASCII without spaces or quotes, of at most {MAX_URL_CHARS} characters.", where
        )
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise invalid_request(f"`{where}` must be a URL.", where) from None
    if parts.scheme not in ("https", "http") or not host:
        raise invalid_request(f"`{where}` must be an https: URL with a host.", where)
    if parts.username is not None or parts.password is not None or "?" in url or "#" in url:
        raise invalid_request(f"`{where}` must have no user name, query or fragment.", where)
    kind = _classify_host(host)
    if kind == "link_local":
        raise invalid_request(f"`{where}` must not be a link-local address.", where)
    if parts.scheme == "http" and kind != "loopback" and not (kind == "private" and private_network):
        raise invalid_request(f"`{where}` must be https:, because plain http is allowed only to this machine.", where)
    return url.rstrip("/")


def _classify_host(host: str) -> str:
    if host == "localhost" or host.endswith(".localhost"):
        return "loopback"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # Any other number is another spelling of an address, such as 2852039166 or 0x7f.1.
        last = host.rstrip(".").rpartition(".")[2]
        return "link_local" if last.isdigit() or last.startswith("0x") else "name"
    address = _to_ipv4(address)
    if address.is_loopback:
        return "loopback"
    # The reserved networks include IPv6 forms of IPv4 addresses.
    if _is_link_or_metadata(address) or address.is_unspecified or address.is_multicast or address.is_reserved:
        return "link_local"
    return "private" if address.is_private else "public"


def is_loopback(host: str) -> bool:
    """Return whether *host* is this machine, in any spelling."""
    return _classify_host(host) == "loopback"


def is_link_local(address: str) -> bool:
    """Return whether *address*, to which a name resolved, is link-local or a cloud's metadata server."""
    try:
        return _is_link_or_metadata(_to_ipv4(ipaddress.ip_address(address.partition("%")[0])))
    except ValueError:
        return False


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _is_link_or_metadata(address: _Address) -> bool:
    return address.is_link_local or address in _METADATA


def _to_ipv4(address: _Address) -> _Address:
    """Return the IPv4 address that an IPv6 address spells, or *address* itself if it spells none."""
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    nat64 = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
    return address.ipv4_mapped or address.sixtofour or nat64 or address


def has_same_origin(one: str, other: str) -> bool:
    """Return whether two checked URLs have the same scheme, host and port."""
    return get_origin(one) == get_origin(other)


_STEP = re.compile(r"/(?:\.|%2e){1,2}(?=[/?#]|$)", re.IGNORECASE)


def has_dot_segments(url: str) -> bool:
    """Return whether the path of *url* has a segment `.` or `..`, by which the name of a model could change it."""
    return _STEP.search(url.partition("?")[0]) is not None


def get_host(url: str) -> str:
    """Return the host of a checked URL."""
    return urlsplit(url).hostname or ""


def get_path(url: str) -> str:
    """Return the path of a checked URL."""
    return urlsplit(url).path


def get_origin(url: str) -> str:
    """Return the scheme, host and port of a checked URL, in one spelling."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or {'https': 443}.get(parts.scheme, 80)}"


def parse_host_variable(value: str, default_port: int, hosted: str | None) -> str:
    """Return the URL that a `host:port` variable of a local server names.

    Such a variable is the server's bind address too, so "all interfaces" becomes this machine. A value without a scheme
    means http at *default_port*, or https if it names the host of the *hosted* service. Source: ollama fb307609
    envconfig/config.go.
    """
    value = value.strip().strip("\"'")
    scheme, separator, rest = value.partition("://")
    if not separator:
        scheme, rest = "http", value
    authority, slash, path = rest.partition("/")
    host, port = _split_authority(authority)
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(host, host)  # noqa: S104 - what to replace
    if hosted and host == get_host(hosted) and not separator:
        scheme, default_port = "https", 443
    if separator:
        default_port = 443 if scheme == "https" else 80
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{port or default_port}{slash}{path}".rstrip("/")


def _split_authority(authority: str) -> tuple[str, int | None]:
    if authority.startswith("["):
        host, _, rest = authority[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = authority.rpartition(":") if authority.count(":") == 1 else (authority, "", "")
    return host, int(port) if _PORT.fullmatch(port) and 0 < int(port) < 65_536 else None
