"""The heads of requests and replies: what may be sent, and what can be read unambiguously. [pure]

Knows HTTP/1.1 (RFC 9112). Must not know connections. A reply that two parsers could read differently is refused: the
bytes after it could be taken for the reply to the next request.
"""

import re
from collections.abc import Iterable, Mapping
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Literal, NamedTuple

MAX_HEAD_BYTES = 100 * 1024
"""What a head may have in all, with the provisional ones before it."""

MAX_FIELDS = 500
"""How many fields a head may have."""


class UnsendableError(Exception):
    """A request that no connection can carry as it is."""


class MalformedReplyError(Exception):
    """A reply that is no HTTP, or that two readers could take for two different ones."""


class CutReplyError(Exception):
    """A connection that ended before its reply did."""


class IdleError(Exception):
    """A server that fell silent within its reply."""


class UnwrittenError(Exception):
    """A server that took nothing of the request for too long."""


class Target(NamedTuple):
    """Where a request goes: the parts of a plain address."""

    scheme: str
    host: str
    """In lower case, an IPv6 address without its brackets."""
    port: int
    authority: str
    """What the field `Host` says."""
    path: str
    """With the query."""


_PLAIN = re.compile(
    r"(https?)://"
    r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)"
    r"(?::([0-9]{1,5}))?"
    # Characters that need no escape by RFC 3986 and the WHATWG URL standard; escapes must be complete.
    r"((?:/(?:[!$&-;=@-Z_a-z~|\[\]\\^]|%[0-9A-Fa-f]{2})*)?)"
    r"(\?(?:[!$&-;=@-Z_a-z~|\[\]\\^?`{}]|%[0-9A-Fa-f]{2})*)?"
)
_NUMERIC = re.compile(r"[0-9.]+|.*\.[0-9]+")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def read_target(url: str) -> Target | None:
    """Return the parts of *url*, or None where it is not spelt plainly: a reader of every spelling is needed then."""
    match = _PLAIN.fullmatch(url)
    if match is None:
        return None
    scheme, shown, digits, path, query = match.groups()
    host = shown.lower()
    if not _is_host(host):
        return None
    port = int(digits) if digits else _DEFAULT_PORTS[scheme]
    if not 0 < port < 65_536:
        return None
    authority = host if port == _DEFAULT_PORTS[scheme] else f"{host}:{port}"
    return Target(scheme, host.strip("[]"), port, authority, (path or "/") + (query or ""))


def _is_host(host: str) -> bool:
    try:
        if host.startswith("["):
            IPv6Address(host[1:-1])
        elif _NUMERIC.fullmatch(host):
            IPv4Address(host)
    except AddressValueError:
        return False
    return True


_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"(?:[!-~]+(?:[ \t]+[!-~]+)*)?")

OWN_FIELDS = frozenset({"connection", "content-length", "expect", "te", "trailer", "transfer-encoding", "upgrade"})
"""Fields by which a connection itself is ruled: a request that brings one is no ordinary one."""

_WITH_LENGTH = frozenset({"POST", "PUT", "PATCH"})


def is_ordinary(headers: Iterable[str]) -> bool:
    """Return whether a request with these names of fields leaves its connection to us."""
    names = [name.lower() for name in headers]
    return OWN_FIELDS.isdisjoint(names) and names.count("host") <= 1


def encode_head(method: str, target: Target, headers: Mapping[str, str], body_bytes: int) -> bytes:
    """Return the head of a request with *headers* and a body of *body_bytes*.

    Raises: UnsendableError for a name or value that HTTP does not allow. Its text does not repeat it.
    """
    if not _TOKEN.fullmatch(method):
        raise UnsendableError("method")
    given = {name.lower(): value for name, value in headers.items()}
    lines = [f"{method} {target.path} HTTP/1.1", f"Host: {given.get('host', target.authority)}"]
    if not body_bytes and method in _WITH_LENGTH:
        lines.append("Content-Length: 0")
    if "accept" not in given:
        lines.append("Accept: */*")
    lines.append("Connection: keep-alive")
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise UnsendableError("header")
        if name.lower() != "host":
            lines.append(f"{name}: {value}")
    if body_bytes:
        lines.append(f"Content-Length: {body_bytes}")
    return "\r\n".join((*lines, "", "")).encode("ascii")


Framing = Literal["none", "counted", "chunked", "until_close"]
"""How the end of a body is told."""

Fields = list[tuple[bytes, bytes]]
"""Names and values of a head, in order, as they came."""


class ReplyHead(NamedTuple):
    """The head of a reply."""

    status: int
    headers: dict[str, str]
    """Names in lower case; the values of one that came several times are joined by a comma."""
    framing: Framing


def read_head(version: str, status: int, fields: Fields) -> ReplyHead:
    """Return the head of a reply in HTTP *version* (`1.1`) with *status*.

    Raises: MalformedReplyError if its end is ambiguous, or it is not a final reply at all.
    """
    if version not in ("1.0", "1.1") or status < 100 or status == 101:
        raise MalformedReplyError("status line")
    if len(fields) > MAX_FIELDS or sum(len(name) + len(value) for name, value in fields) > MAX_HEAD_BYTES:
        raise MalformedReplyError("size of the head")
    headers = _join_fields(fields)
    counted = _find_one(fields, b"content-length")
    coded = _find_one(fields, b"transfer-encoding")
    if counted is not None and (coded is not None or not counted.isdigit()):
        raise MalformedReplyError("length")
    if coded is not None and (coded.lower() != b"chunked" or version != "1.1"):
        raise MalformedReplyError("transfer encoding")
    if status < 200 and (counted is not None or coded is not None):
        raise MalformedReplyError("body of a provisional reply")
    if status < 200 or status in (204, 304):
        return ReplyHead(status, headers, "none")
    return ReplyHead(status, headers, "chunked" if coded else "until_close" if counted is None else "counted")


def _find_one(fields: Fields, wanted: bytes) -> bytes | None:
    """Return the value of the field *wanted*, or None.

    Raises: MalformedReplyError if it occurs more than once.
    """
    values = [value for name, value in fields if name.lower() == wanted]
    if len(values) > 1:
        raise MalformedReplyError("field that may occur once")
    return values[0].strip(b" \t") if values else None


def _join_fields(fields: Fields) -> dict[str, str]:
    coding = _read_coding(fields)
    headers: dict[str, str] = {}
    for raw_name, raw_value in fields:
        name, value = raw_name.decode("latin-1").lower(), raw_value.strip(b" \t").decode(coding)
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _read_coding(fields: Fields) -> str:
    """Return the encoding of all values: UTF-8 if they are valid in it, else Latin-1."""
    try:
        for _, value in fields:
            value.decode()
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"
