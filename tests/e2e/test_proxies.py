"""A proxy between the program and its provider: it learns names, and no key."""

from pathlib import Path

from tests.support.fake_services import Services
from tests.support.listening_services import online
from tests.support.provider_rows import every_key, every_setting, params


def test_a_proxy_sees_names_and_no_keys(services: Services, tmp_path: Path) -> None:
    """A certificate that nobody vouches for ends the attempt before the request."""
    with online(services, tmp_path, SSL_CERT_FILE="", **every_key(), **every_setting()) as sidecar:
        error = sidecar.ask("stream_chat", params(), provider="groq")["error"]
    assert (error["code"], error["reason"], error["retryable"]) == ("network_error", "tls", False)
    assert not services.asked()
