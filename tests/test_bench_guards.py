"""What start-up and memory rest on, and no clock is needed to see: the modules that the process imports."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.bench import streams
from tests.bench.report import Bar, Figure
from tests.bench.streams import STREAMS

ROOT = Path(__file__).resolve().parent.parent

SLOW = frozenset({"anthropic", "boto3", "botocore", "google", "openai", "pydantic", "requests", "tiktoken"})
"""What only some requests need: each costs more than the whole start."""

PROXIES = frozenset({"h11", "httpcore2", "httpx2"})
"""What only a request needs that may have to go through a proxy."""

HTTP = PROXIES | {"httptools", "truststore"}
"""What only requests to a provider need."""


class Provider(BaseHTTPRequestHandler):
    """Answers every chat with a short stream, whatever the wire."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        stream = next(each for each in STREAMS.values() if each.path == self.path)
        delta = b" Hi".join(streams.template(stream))
        body = [*map(streams.encode, stream.first()), delta, *map(streams.encode, stream.last(" Hi", 1))]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"".join(body))

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Serve `Provider`, and give its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def serve(request: dict[str, Any], folder: Path) -> tuple[set[str], dict[str, Any]]:
    """Return what a process that serves *request* imports, as packages and modules, and its last reply."""
    config = folder / "config.toml"
    config.write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "sidecar", "--config", str(config)],
        input=msgspec.json.encode(request) + b"\n",
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("SIDECAR_")},
        capture_output=True,
        check=True,
        timeout=60,
    )
    lines = done.stderr.decode().splitlines()
    modules = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    reply: dict[str, Any] = msgspec.json.decode(done.stdout.splitlines()[-1])
    return modules | {name.partition(".")[0] for name in modules}, reply


@pytest.mark.spawns
def test_a_ping_imports_neither_an_sdk_nor_the_http_client(tmp_path: Path) -> None:
    imported, reply = serve({"id": 1, "action": "ping"}, tmp_path)
    assert reply["data"]["pong"] is True
    assert "sidecar.server.serve" in imported
    assert not imported & (SLOW | HTTP)
    assert not imported & {
        "sidecar.catalogue.provider_rows",
        "sidecar.generation.run",
        "sidecar.server.handlers.chat",
        "sidecar.tokens.estimates",
        "sidecar.auth.logins.imported",
        "sidecar.providers.resolve",
        "sidecar.upstream.context",
        "sidecar.usage.ledger",
        "anyio._backends._asyncio",
        "anyio.from_thread",
        "platformdirs",
        "hashlib",
        "secrets",
    }


@pytest.mark.spawns
@pytest.mark.parametrize("wire", STREAMS)
def test_a_chat_with_a_plain_key_imports_no_sdk(wire: str, port: int, tmp_path: Path) -> None:
    chat = {
        "model": "some-model",
        "messages": [{"role": "user", "content": "Hello"}],
        "options": {"wire": wire},
        "api_key": "k-test",
        "base_url": f"http://127.0.0.1:{port}{STREAMS[wire].base_path}",
    }
    request = {"id": 1, "action": "stream_chat", "provider": STREAMS[wire].provider, "params": chat}
    imported, reply = serve(request, tmp_path)
    assert reply["data"]["message"]["content"][0]["text"] == " Hi"
    assert "httptools" in imported
    assert not imported & (SLOW | PROXIES)


@pytest.mark.parametrize(
    ("value", "bar", "missed"),
    [
        (50.0, Bar(50), False),
        (50.1, Bar(50), True),
        (20.0, Bar(2, "reference"), False),
        (20.1, Bar(2, "reference"), True),
        (float("inf"), Bar(0), True),
    ],
)
def test_a_figure_over_its_bar_is_missed(value: float, bar: Bar, missed: bool) -> None:
    """Ours: the bench is believed when it says that every bar was kept."""
    assert Figure(what="it", value=value, unit="ms", beside={"reference": 10.0}, bars=(bar,)).missed is missed
