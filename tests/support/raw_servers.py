"""Servers below HTTP: TLS that fails in its handshake, and one that answers before it has heard the question."""

import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.fake_provider import WAIT_SECONDS

READ_BYTES = 65536


class Listener(NamedTuple):
    """A server: its port, and one entry for each connection that has come."""

    port: int
    came: list[None]


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[Listener]:
    """Yield a server that gives each connection to *answer*, one after the other, and then closes it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        listener = Listener(server.getsockname()[1], [])

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    listener.came.append(None)
                    connection.settimeout(WAIT_SECONDS)
                    with connection, suppress(OSError, ssl.SSLError):
                        answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
    thread.join(WAIT_SECONDS)


@contextmanager
def tls(folder: Path, *, name: str = "127.0.0.1", days: int = 1, version: str = "") -> Iterator[tuple[Listener, Path]]:
    """Yield a server with a certificate for *name* that is good for so many *days*, and where its root is kept."""
    root = certificate(folder, name, days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(root)
    if version:
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            context.minimum_version = context.maximum_version = ssl.TLSVersion[version]

    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)

    with listening(answer) as listener:
        yield listener, root


def certificate(folder: Path, name: str, days: int) -> Path:
    """Return a file with a certificate that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fault")])
    now = datetime.now(UTC)
    until = now + timedelta(days=days)
    alternative = x509.IPAddress(IPv4Address(name)) if name[0].isdigit() else x509.DNSName(name)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, until) - timedelta(days=2))
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(secret + built.public_bytes(Encoding.PEM))
    return file


def silent(connection: socket.socket) -> None:
    """Listen and say nothing."""
    while connection.recv(READ_BYTES):
        pass


def early(head: bytes) -> Callable[[socket.socket], None]:
    """Return a server that answers with *head* before it has read the request, and then lingers, as servers do."""

    def answer(connection: socket.socket) -> None:
        connection.recv(READ_BYTES)
        connection.sendall(head)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(READ_BYTES):
            pass

    return answer
