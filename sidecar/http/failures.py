"""Failures of connections in the protocol's codes.

Knows the failures of name lookups, sockets and TLS, and our own. Must not know which client they come from.
"""

import ssl
from collections.abc import Iterator

from protocol.errors import Phase
from sidecar.core.errors import SidecarError
from sidecar.http.message import IdleError, MalformedReplyError, UnsendableError, UnwrittenError

_NO_SUCH_NAME = frozenset({-2, 8, 11001})
"""The code for a name that does not exist: Linux, macOS, Windows. Other failures of a lookup may pass."""


def read_failure(failure: BaseException) -> SidecarError:
    """Return the error for a *failure* of a connection of our own, or of opening one."""
    if isinstance(failure, IdleError):
        return make_silence_error("idle")
    if isinstance(failure, UnwrittenError):
        return make_silence_error("headers")
    if isinstance(failure, MalformedReplyError):
        return make_malformed_reply_error()
    if isinstance(failure, UnsendableError):
        return make_unsendable_error()
    if isinstance(failure, MemoryError):
        return SidecarError("internal_error", "There is not enough memory for the reply.", reason="no_memory")
    return make_broken_error(failure)


def make_unreached_error() -> SidecarError:
    """Return the error for a server that could not be reached in time."""
    return SidecarError("timeout", "The provider could not be reached in time.", phase="connect")


def make_silence_error(phase: Phase) -> SidecarError:
    """Return the error for a server that is silent in *phase*; `idle` means within a reply."""
    text = "The provider fell silent." if phase == "idle" else "The provider sent no reply in time."
    return SidecarError("timeout", text, phase=phase)


def make_unsendable_error() -> SidecarError:
    """Return the error for a request that cannot be sent."""
    return SidecarError("invalid_request", "The request cannot be sent: a header or the address is malformed.")


def make_unusable_proxy_error(variable: str) -> SidecarError:
    """Return the error for the unusable proxy that the environment *variable* names."""
    text = f"The proxy that {variable} names cannot be used."
    hint = f"Set {variable} to the http:// address of a proxy (SOCKS is not supported), unset it, or use NO_PROXY."
    return SidecarError("network_error", text, reason="proxy", retryable=False, hint=hint)


def make_unreached_proxy_error() -> SidecarError:
    """Return the error for a proxy that could not be connected to."""
    text = "The proxy could not be reached."
    return SidecarError("network_error", text, reason="proxy", hint=_PROXY_VARIABLES)


def make_silent_proxy_error() -> SidecarError:
    """Return the error for a proxy that was connected to and does not answer."""
    return SidecarError("timeout", "The proxy did not answer in time.", phase="connect", hint=_PROXY_VARIABLES)


def make_proxy_refusal_error(status: int | None) -> SidecarError:
    """Return the error for a proxy that does not let a request through. *status* is what it said, if it did."""
    text = f"The proxy refused the connection{'' if status is None else f' with status {status}'}."
    may_pass = status is None or status >= 500
    return SidecarError(
        "network_error", text, reason="proxy", retryable=may_pass, hint=_PROXY_STATUSES.get(status or 0)
    )


_PROXY_VARIABLES = "Check the address in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY."

_PROXY_STATUSES = {
    403: "The proxy does not allow this address: ask whoever runs it, or use NO_PROXY.",
    407: "The proxy wants a login: put it into its address, as http://user:password@host:port.",
}


def make_malformed_reply_error() -> SidecarError:
    """Return the error for a reply that is not valid HTTP."""
    return SidecarError("provider_error", "The provider's reply is not valid HTTP.", reason="protocol")


def make_link_local_error() -> SidecarError:
    """Return the error for a name that leads to a link-local address."""
    text = "The host's name leads to a link-local address, where no provider is: nothing was sent."
    return SidecarError("invalid_request", text, reason="address", phase="connect")


def make_broken_error(failure: BaseException) -> SidecarError:
    """Return the error for a broken connection, or one that could not be opened, by the causes of *failure*."""
    # TLS waits for more data by raising these, so they are in the context of whatever follows.
    causes = [
        each for each in _list_causes(failure) if not isinstance(each, (ssl.SSLWantReadError, ssl.SSLWantWriteError))
    ]
    if certificate := next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None):
        wrong, hint = _CERTIFICATES.get(getattr(certificate, "verify_code", 0), _UNTRUSTED)
        text = f"The provider's TLS certificate {wrong}."
        return SidecarError("network_error", text, reason="tls", retryable=False, hint=hint)
    if handshake := next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None):
        # A truncated handshake may succeed next time, a refused one will not.
        return SidecarError(
            "network_error",
            "The TLS connection failed.",
            reason="tls",
            retryable=isinstance(handshake, (ssl.SSLEOFError, ssl.SSLZeroReturnError)),
            hint=_HANDSHAKES.get(getattr(handshake, "reason", None) or ""),
        )
    if lookup := next((cause for cause in causes if type(cause).__name__ == "gaierror"), None):
        may_pass = lookup.args[0] not in _NO_SUCH_NAME
        text = "The provider's host name could not be resolved."
        hint = (
            "Check `base_url` and the connection. If there is a proxy between here and the internet, set HTTPS_PROXY."
        )
        return SidecarError("network_error", text, reason="dns", retryable=may_pass, hint=hint)
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


_NO_TLS = "The server may not speak TLS at this port: check whether `base_url` needs http:// or another port."
_OLD_TLS = "The server speaks no TLS newer than 1.1: whoever runs it must allow TLS 1.2."

_HANDSHAKES = {
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "RECORD_LAYER_FAILURE": _NO_TLS,
    "HTTP_REQUEST": _NO_TLS,
    "UNSUPPORTED_PROTOCOL": _OLD_TLS,
    "TLSV1_ALERT_PROTOCOL_VERSION": _OLD_TLS,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "The server asks for a client certificate, which cannot be sent.",
}
"""OpenSSL's reason for a failed handshake → what to do. Source: OpenSSL, `sslerr.h`, read 2026-11."""


def _list_causes(error: BaseException) -> Iterator[BaseException]:
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
