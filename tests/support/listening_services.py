"""Every host of the internet, behind a proxy on 127.0.0.1 that is whatever server it is asked for.

A process that has it as its HTTPS proxy and trusts its certificates is tested with the addresses that are
built into it, to the last letter; asked directly it is a plain HTTP server. It runs in threads, keeps every
request that came, and closes each connection after one answer.
"""

import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SHUT_RDWR
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.fake_provider import WAIT_SECONDS
from tests.support.fake_services import Seen, Services
from tests.support.process import Sidecar, environment
from tests.support.program import write_home


class ListeningServices(Services):
    """The servers. Entering it starts them; `folder` is where certificates are kept."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._certificates = _Certificates(folder)
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.services = self
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join(WAIT_SECONDS)
        self._http.server_close()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._http.server_port

    @property
    def env(self) -> dict[str, str]:
        """The variables with which a process takes it for the whole internet."""
        return {"HTTPS_PROXY": self.url, "SSL_CERT_FILE": str(self._certificates.authority)}

    def wait(self, happened: Callable[[], bool], what: str) -> None:
        """Wait until something has *happened*."""
        with self.changed:
            assert self.changed.wait_for(happened, WAIT_SECONDS), f"waited in vain for {what}"

    def tls(self, host: str) -> ssl.SSLContext:
        """Return the context of the server that *host* is."""
        with self.changed:
            return self._certificates.context(host)


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024
    services: ListeningServices

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as the base class has it
        """Note what went wrong, but that the other side hung up or refused a certificate: both are tested."""
        error = sys.exception()
        if not isinstance(error, OSError):
            self.services.problems.append(repr(error))


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    protocol_version = "HTTP/1.1"
    origin = ""

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_CONNECT(self) -> None:
        """Become the host that is asked for."""
        host, _, port = self.path.rpartition(":")
        self.send_response(200)
        self.end_headers()
        self.connection = self.server.services.tls(host).wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", 0)  # Unbuffered, as the base class has it.
        self.origin = f"https://{host}" + ("" if port == "443" else f":{port}")
        self.close_connection = False

    def do_GET(self) -> None:
        """Answer, whatever the method."""
        services = self.server.services
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = dict[str, str]()
        for name, value in self.headers.items():
            headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
        seen = Seen(self.command, f"{self.origin or 'http://' + headers['host']}{self.path}", headers, body)
        answer = services.answer_to(seen)
        self.close_connection = True
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("connection", "close")
        if not answer.stalls:
            self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)
        if answer.stalls:
            with suppress(OSError):
                self.connection.recv(1)
            services.note(lambda: setattr(seen, "closed_at", time.monotonic()))

    do_POST = do_PUT = do_GET  # noqa: N815 - the base class looks for these names

    def finish(self) -> None:
        """Close what `do_CONNECT` has put in the place of the plain connection."""
        with suppress(OSError):
            super().finish()
        with suppress(OSError):
            self.connection.shutdown(SHUT_RDWR)
        self.connection.close()


class _Certificates:
    """An authority of its own and a certificate for every host, made when first needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Authority of a test")])
        self.authority = folder / "authority.pem"
        self.authority.write_bytes(self._signed(self._name, self._key, None).public_bytes(Encoding.PEM))

    def context(self, host: str) -> ssl.SSLContext:
        if host not in self._contexts:
            key = ec.generate_private_key(ec.SECP256R1())
            name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "A host of a test")])
            file = self._folder / "host.pem"
            secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            file.write_bytes(secret + self._signed(name, key, host).public_bytes(Encoding.PEM))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(file)
            self._contexts[host] = context
        return self._contexts[host]

    def _signed(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, host: str | None) -> x509.Certificate:
        """Return the certificate of *host*, or of the authority itself."""
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(_usage(authority=host is None), critical=True)
        )
        if host is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _usage(*, authority: bool) -> x509.KeyUsage:
    unused = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **unused)


@contextmanager
def online(services: Services, folder: Path, config: str = "", **env: str) -> Iterator[Sidecar]:
    """Yield a process that takes *services* for the internet, with that configuration file and those variables.

    *env* overrules what makes it so; a variable that is empty is not set.
    """
    home, arguments = write_home(folder, config)
    given = {name: value for name, value in (services.env | env).items() if value}
    with Sidecar(home, arguments=arguments, env=environment(home, **given), secrets=services.secrets) as sidecar:
        # It loads what every scheme needs, in one process.
        sidecar.max_growth_bytes = 256 * 1024 * 1024
        yield sidecar
