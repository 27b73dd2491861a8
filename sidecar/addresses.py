"""Which addresses a request may go to. [pure]

Knows URLs and networks. Must not know providers.
"""

import ipaddress
from urllib.parse import urlsplit

from sidecar.errors import invalid

MAX_URL_CHARS = 2048


def base_url(url: str, where: str, *, private_network: bool) -> str:
    """Return *url* without a trailing slash when a key and a prompt may be sent there.

    https anywhere but link-local addresses; plain http to this machine, and to private
    addresses where *private_network* says that the user put the server there.

    Raises: SidecarError `invalid_request` naming *where*, never the address.
    """
    if len(url) > MAX_URL_CHARS or not url.isascii() or any(c <= " " or c == "\x7f" or c in '<>"\\^`{|}' for c in url):
        raise invalid(f"`{where}` is not a plain URL.", where)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise invalid(f"`{where}` is not a URL.", where) from None
    if parts.scheme not in ("https", "http") or not host:
        raise invalid(f"`{where}` must be an https: URL with a host.", where)
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise invalid(f"`{where}` must have no user name, query or fragment.", where)
    kind = _kind(host)
    if kind == "link_local":
        raise invalid(f"`{where}` names a link-local address.", where)
    if parts.scheme == "http" and kind != "loopback" and not (kind == "private" and private_network):
        raise invalid(f"`{where}` must be https: plain http is for this machine alone.", where)
    return url.rstrip("/")


def _kind(host: str) -> str:
    if host == "localhost" or host.endswith(".localhost"):
        return "loopback"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # A number that is no plain address is another spelling of one, such as 2852039166 or 0x7f.1.
        last = host.rstrip(".").rpartition(".")[2]
        return "link_local" if last.isdigit() or last.startswith("0x") else "name"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_loopback:
        return "loopback"
    if address.is_link_local or address.is_unspecified or address.is_multicast:
        return "link_local"
    return "private" if address.is_private else "public"
