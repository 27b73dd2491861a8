"""TLS against a real server on this machine: what is trusted, what is not, and that no key is logged."""

import datetime as dt
import ipaddress
import socket
import ssl
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sidecar.transport import Transport
from tests.e2e.provider import WAIT_SECONDS
from tests.test_transport import failure, get, http, whole

__all__ = ["http"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a key and a certificate for this machine that nobody has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


class Tls:
    """A server that ends TLS, or answers plainly where it has no certificate, and says the same to everybody."""

    def __init__(self, certificate: Path | None, newest: ssl.TLSVersion | None = None) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
        if self._context and certificate:
            self._context.load_cert_chain(certificate)
            if newest:
                self._context.minimum_version, self._context.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, newest
        self.url = f"https://127.0.0.1:{self._server.getsockname()[1]}/"
        self.requests: list[bytes] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # What `accept` waits for.
        with suppress(OSError), socket.create_connection(self._server.getsockname()[:2], 1):
            pass
        self._thread.join(WAIT_SECONDS)
        self._server.close()

    def _run(self) -> None:
        plain, _ = self._server.accept()
        plain.settimeout(WAIT_SECONDS)
        with plain, suppress(OSError):
            if self._context is None:
                plain.recv(65536)
                plain.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
                return
            with self._context.wrap_socket(plain, server_side=True) as secure:
                self.requests.append(secure.recv(65536))
                secure.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


async def test_a_certificate_that_nobody_has_signed(http: Transport, certificate: Path) -> None:
    with Tls(certificate) as server:
        body = (await failure(http, get(server.url))).body
        assert (body.code, body.reason, body.retryable) == ("network_error", "tls", False)
        assert body.hint
        assert "verif" not in body.hint
    assert server.requests == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system's own store decides")
async def test_a_certificate_of_the_system_and_no_key_log(
    http: Transport, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = certificate.parent / "keys.log"
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    with Tls(certificate) as server:
        assert (await whole(http, get(server.url)))[1] == b"ok"
    assert server.requests[0].startswith(b"GET / HTTP/1.1")
    assert not log.exists()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_tls_of_the_last_century(http: Transport, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Tls(certificate, ssl.TLSVersion.TLSv1_1) as server:
        body = (await failure(http, get(server.url))).body
    assert (body.code, body.reason) == ("network_error", "tls")
    assert server.requests == []


async def test_a_server_that_speaks_no_tls(http: Transport) -> None:
    with Tls(None) as server:
        body = (await failure(http, get(server.url))).body
    assert (body.code, body.reason) == ("network_error", "tls")
