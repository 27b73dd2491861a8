"""What may go wrong with a connection, in the protocol's codes.

Knows the failures of name lookups, sockets and TLS, and ours. Must not know which client met them.
"""

import ssl
from collections.abc import Iterator

from protocol.errors import Phase
from sidecar.core.errors import SidecarError
from sidecar.http.message import IdleError, MalformedReplyError, UnsendableError, UnwrittenError

_NO_SUCH_NAME = frozenset({-2, 8, 11001})
"""The system's word for a name that nobody has: Linux, macOS, Windows. Other failures of a lookup may pass."""


def read(failure: BaseException) -> SidecarError:
    """Return *failure* of a connection of our own, or of one that was to be made, as the error that it is."""
    if isinstance(failure, IdleError):
        return silent("idle")
    if isinstance(failure, UnwrittenError):
        return silent("headers")
    if isinstance(failure, MalformedReplyError):
        return malformed_reply()
    if isinstance(failure, UnsendableError):
        return unsendable()
    if isinstance(failure, MemoryError):
        return SidecarError("internal_error", "There is not enough memory for the reply.", reason="no_memory")
    return broken(failure)


def unreached() -> SidecarError:
    """Return the error for a server that could not be reached in time."""
    return SidecarError("timeout", "The provider could not be reached in time.", phase="connect")


def silent(phase: Phase) -> SidecarError:
    """Return the error for a server that says nothing in *phase*, which is `idle` within a reply."""
    text = "The provider fell silent." if phase == "idle" else "The provider sent no reply in time."
    return SidecarError("timeout", text, phase=phase)


def unsendable() -> SidecarError:
    """Return the error for a request that cannot be sent."""
    return SidecarError("invalid_request", "The request cannot be sent: a header or the address is malformed.")


def unusable_proxy(variable: str) -> SidecarError:
    """Return the error for a proxy that no request can be sent through. *variable* names it."""
    text = f"The proxy that {variable} names cannot be used."
    hint = f"Set {variable} to the http:// address of a proxy (SOCKS is not supported), unset it, or use NO_PROXY."
    return SidecarError("network_error", text, reason="proxy", retryable=False, hint=hint)


def malformed_reply() -> SidecarError:
    """Return the error for a reply that is no HTTP."""
    return SidecarError("provider_error", "The provider's reply is no proper HTTP.", reason="protocol")


def link_local() -> SidecarError:
    """Return the error for a name that leads to an address of the link."""
    text = "The host's name leads to a link-local address, where no provider is: nothing was sent."
    return SidecarError("invalid_request", text, reason="address", phase="connect")


def broken(failure: BaseException) -> SidecarError:
    """Return the error for a connection that broke, or could not be made, by what stands behind *failure*."""
    # A layer of TLS that waits for more says so by an exception, which then stands behind whatever comes instead.
    causes = [each for each in _chain(failure) if not isinstance(each, (ssl.SSLWantReadError, ssl.SSLWantWriteError))]
    if certificate := next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None):
        wrong, hint = _CERTIFICATES.get(getattr(certificate, "verify_code", 0), _UNTRUSTED)
        text = f"The provider's TLS certificate {wrong}."
        return SidecarError("network_error", text, reason="tls", retryable=False, hint=hint)
    if handshake := next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None):
        # Broken off, it may be better next time; refused, it will not.
        return SidecarError(
            "network_error",
            "The TLS connection failed.",
            reason="tls",
            retryable=isinstance(handshake, (ssl.SSLEOFError, ssl.SSLZeroReturnError)),
        )
    if lookup := next((cause for cause in causes if type(cause).__name__ == "gaierror"), None):
        may_pass = lookup.args[0] not in _NO_SUCH_NAME
        text = "The provider's host name could not be resolved."
        return SidecarError("network_error", text, reason="dns", retryable=may_pass)
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return SidecarError("network_error", "The connection was refused.", reason="refused")
    return SidecarError("network_error", "The connection broke.", reason="connection")


_UNTRUSTED = (
    "is not trusted",
    "Add your organization's root certificate to the system's trust store, or set SSL_CERT_FILE.",
)

_OTHER_HOST = (
    "is for another host",
    "Check `base_url`, and whether a proxy or a login page answers instead.",
)
_WEAK = ("has a key or a signature that is too weak", "Whoever runs the server must replace its certificate.")

_CERTIFICATES = {
    9: ("is not valid yet", "Check the clock of this machine."),
    10: ("has expired", "Check the clock of this machine. If it is right, the server needs a new certificate."),
    62: _OTHER_HOST,
    64: _OTHER_HOST,
    66: _WEAK,
    67: _WEAK,
    68: _WEAK,
}
"""OpenSSL's code of a failed verification → what is wrong with the certificate, and what to do.

Source: OpenSSL, `x509_vfy.h`, read 2026-11.
"""


def _chain(error: BaseException) -> Iterator[BaseException]:
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        pending += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            pending += current.exceptions
