"""Which roots are trusted: those that OpenSSL was told of, or else the system's. They are read once."""

import ssl
from pathlib import Path

import pytest

from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest, HttpTimeouts
from sidecar.http import dial, trust
from sidecar.upstream.http_client import HttpClient
from tests.http.test_clients_agree_on_tls import OK, secured
from tests.support import process_probes
from tests.support.raw_servers import certificate, silent, tls

pytestmark = process_probes.linux_only


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of a root that nobody was told of: there is no other."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setattr(trust, "ROOT_FILES", ())
    return certificate(tmp_path, "127.0.0.1", 1)


def roots(context: ssl.SSLContext) -> int:
    return context.cert_store_stats()["x509"]


def test_without_any_root_nobody_is_trusted() -> None:
    context = dial.make_tls_context()
    assert roots(context) == 0
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.keylog_filename is None


def test_the_file_that_a_variable_names_is_trusted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(root))
    assert roots(dial.make_tls_context()) == 1


def test_the_first_file_of_the_system_is_trusted(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "ROOT_FILES", (str(tmp_path / "none.pem"), str(root), str(tmp_path)))
    assert roots(dial.make_tls_context()) == 1


def test_a_folder_that_a_variable_names_stands_for_the_systems_file(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "ROOT_FILES", (str(root),))
    folder = tmp_path / "certificates"
    folder.mkdir()
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    assert roots(dial.make_tls_context()) == 1
    (folder / "0a1b2c3d.0").write_bytes(root.read_bytes())
    # OpenSSL looks into it when it meets a certificate.
    assert roots(dial.make_tls_context()) == 0


def test_roots_are_not_read_again_for_a_connection(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(root))
    context = dial.make_tls_context()
    root.unlink()
    monkeypatch.setattr(trust, "trust_files", lambda _: pytest.fail("read again"))
    for _ in range(2):
        wrapped = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="127.0.0.1")
        assert roots(wrapped.context) == 1


async def test_a_root_that_is_added_after_a_refusal_is_trusted(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = HttpClient("direct")
    monkeypatch.setenv("NO_PROXY", "*")
    (tmp_path / "other").mkdir()

    async def ask(port: int) -> bytes:
        request = HttpRequest(method="GET", url=f"https://127.0.0.1:{port}/", headers={})
        async with client.send(request, {}, HttpTimeouts()) as reply:
            return b"".join([piece async for piece in reply.body])

    with tls(tmp_path / "other") as (listener, _), pytest.raises(SidecarError) as refused:
        await ask(listener.port)
    assert refused.value.body.reason == "tls"
    monkeypatch.setenv("SSL_CERT_FILE", str(root))
    with secured(root, OK + b"content-length: 2\r\n\r\nok", then=silent) as listener:
        assert await ask(listener.port) == b"ok"
        await client.aclose()
