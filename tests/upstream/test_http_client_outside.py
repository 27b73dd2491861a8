"""The ways to the world outside: proxies, and TLS that trusts what the system trusts and logs no key."""

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

from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpTimeouts
from sidecar.upstream.http_client import HttpClient
from tests.support import reply_scripts
from tests.support.fake_provider import CLOSE, RESET, WAIT_SECONDS, Provider, Step
from tests.support.listening_provider import ListeningProvider
from tests.support.loops import anyio_backend
from tests.upstream.test_http_client import CANARY, failure, get, http, listening, provider, whole

pytestmark = pytest.mark.long

__all__ = ["anyio_backend", "http", "listening", "provider"]

# --- proxies ---------------------------------------------------------------------------------

PROXIES = ("http_proxy", "https_proxy", "all_proxy")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_this_machine_is_never_asked_through_a_proxy(
    provider: Provider, http: HttpClient, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    with ListeningProvider() as proxy:
        for name in PROXIES:
            monkeypatch.setenv(name.upper(), proxy.url)
        provider.play(f"/direct-{host}", reply_scripts.document({}))
        assert (await whole(http, get(f"http://{host}:{provider.port}/direct-{host}")))[1] == b"{}"
        assert proxy.connections == 0


async def test_a_metadata_server_is_never_asked_through_a_proxy(
    http: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody may be there; what counts is who is not asked."""
    with ListeningProvider() as proxy:
        for name in PROXIES:
            monkeypatch.setenv(name.upper(), proxy.url)
        limits = HttpTimeouts(connect_seconds=0.1, first_byte_seconds=0.5)
        with suppress(SidecarError):
            async with http.send(get("http://169.254.169.254/"), {}, limits, link_local=True):
                pass
        assert proxy.connections == 0


async def test_the_world_outside_is_asked_through_the_proxy(http: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with ListeningProvider() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        proxy.play("http://provider.invalid/x", reply_scripts.document({}))
        assert (await whole(http, get("http://provider.invalid/x")))[1] == b"{}"
        await http.aclose()


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("407", reply_scripts.whole(b"", 407)),
        ("502", reply_scripts.whole(b"", 502)),
        ("closed", [CLOSE]),
        ("reset", [RESET]),
    ],
)
async def test_a_proxy_that_refuses(
    http: HttpClient, monkeypatch: pytest.MonkeyPatch, name: str, steps: list[Step]
) -> None:
    with ListeningProvider() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", f"//user:{CANARY}@"))
        proxy.play("provider.invalid:443", steps)
        body = (await failure(http, get("https://provider.invalid/x"))).body
        assert body.code == "network_error"
        if name in ("407", "502"):
            assert (body.reason, body.retryable) == ("proxy", name == "502")
            assert f"status {name}" in body.message
            assert ("login" in (body.hint or "")) is (name == "407")
        assert not [call for call in proxy.calls("provider.invalid:443") if CANARY in repr(call.headers)]
        await http.aclose()


# --- TLS -------------------------------------------------------------------------------------


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


async def test_a_certificate_that_nobody_has_signed(http: HttpClient, certificate: Path) -> None:
    with Tls(certificate) as server:
        body = (await failure(http, get(server.url))).body
        assert (body.code, body.reason, body.retryable) == ("network_error", "tls", False)
        assert body.hint
        assert "verif" not in body.hint
    assert server.requests == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system's own store decides")
async def test_a_certificate_of_the_system_and_no_key_log(
    http: HttpClient, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = certificate.parent / "keys.log"
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    with Tls(certificate) as server:
        assert (await whole(http, get(server.url)))[1] == b"ok"
    assert server.requests[0].startswith(b"GET / HTTP/1.1")
    assert not log.exists()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_tls_of_the_last_century(http: HttpClient, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Tls(certificate, ssl.TLSVersion.TLSv1_1) as server:
        body = (await failure(http, get(server.url))).body
    assert (body.code, body.reason) == ("network_error", "tls")
    assert server.requests == []


async def test_a_server_that_speaks_no_tls(http: HttpClient) -> None:
    with Tls(None) as server:
        body = (await failure(http, get(server.url))).body
    assert (body.code, body.reason) == ("network_error", "tls")
