"""mitmproxy: a company's proxy that reads TLS with a certificate of its own, and answers for the provider."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.running import Object, ask, chat, find_program, free_port, running

PROVIDER = '''
from mitmproxy import http

EVENTS = """event: message_start
data: {"type":"message_start","message":{"id":"m","model":"claude","usage":{"input_tokens":3,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Through the proxy."}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":4}}

event: message_stop
data: {"type":"message_stop"}

"""

def request(flow):
    flow.response = http.Response.make(200, EVENTS, {"content-type": "text/event-stream"})
'''

KEY = "sk-CANARY-through-a-proxy"


def start(folder: Path, *arguments: str) -> Iterator[tuple[str, str]]:
    port = free_port()
    (folder / "provider.py").write_text(PROVIDER, encoding="utf-8")
    command = [
        find_program("mitmproxy", "mitmdump"),
        "--quiet",
        "--listen-host",
        "127.0.0.1",
        "--listen-port",
        str(port),
    ]
    command += ["--set", f"confdir={folder}", "--set", "connection_strategy=lazy", "-s", "provider.py", *arguments]
    with running(command, port, folder):
        yield f"127.0.0.1:{port}", str(folder / "mitmproxy-ca-cert.pem")


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    yield from start(tmp_path_factory.mktemp("mitmproxy"))


@pytest.fixture(scope="module")
def closed_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Start one that wants a user and a password."""
    yield from start(tmp_path_factory.mktemp("closed"), "--proxyauth", "alice:wonder")


def ask_through(home: Path, **env: str) -> Object:
    key = {"ANTHROPIC_API_KEY": KEY, "SIDECAR_MAX_ATTEMPTS": "1"}
    return ask(home, [chat(1, "claude-haiku-4-5", "anthropic")], **key, **env)[1]


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_a_chat_goes_through_the_proxy_with_its_certificate(
    proxy: tuple[str, str], tmp_path: Path, variable: str, scheme: str
) -> None:
    end = ask_through(tmp_path, SSL_CERT_FILE=proxy[1], **{variable: scheme + proxy[0]})
    assert end["success"], end
    assert end["data"]["content"] == "Through the proxy."


def test_an_unknown_certificate_is_explained(proxy: tuple[str, str], tmp_path: Path) -> None:
    end = ask_through(tmp_path, HTTPS_PROXY=f"http://{proxy[0]}")
    error = end["error"]
    assert error["code"] == "network_error"
    assert error["reason"] == "tls"
    assert "SSL_CERT_FILE" in error["hint"]


def test_a_proxy_with_a_password_is_used_and_a_wrong_one_named(closed_proxy: tuple[str, str], tmp_path: Path) -> None:
    address, certificate = closed_proxy
    good = ask_through(tmp_path, SSL_CERT_FILE=certificate, HTTPS_PROXY=f"http://alice:wonder@{address}")
    assert good["success"], good
    bad = ask_through(tmp_path, SSL_CERT_FILE=certificate, HTTPS_PROXY=f"http://alice:CANARY@{address}")
    error = bad["error"]
    assert (error["code"], error["reason"]) == ("network_error", "proxy")
    assert "CANARY" not in str(bad)


def test_a_proxy_that_is_not_there_is_named(tmp_path: Path) -> None:
    end = ask_through(tmp_path, HTTPS_PROXY=f"http://127.0.0.1:{free_port()}")
    error = end["error"]
    assert (error["code"], error["reason"]) == ("network_error", "proxy")
