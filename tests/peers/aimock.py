"""The process of `@copilotkit/aimock`, and its endpoints as rows: which of our providers and wires each is asked as.

Knows how it is started and told to misbehave. What it answers stands in `fixtures.json`, how it departs from the real
services in README.md.
"""

import json
import os
import selectors
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import msgspec

from tests.support.process import CANARY

HERE = Path(__file__).parent
READY_SECONDS = 20.0

AZURE = {"resource": "res"}
VERTEX = {"project": "p", "location": "global"}


class Endpoint(msgspec.Struct, frozen=True):
    """One endpoint of the mock, asked as *provider* does on *wire*."""

    provider: str
    wire: str
    base: str
    """What follows the mock's own address in the base address."""
    settings: dict[str, str] = {}
    lacks: tuple[str, ...] = ()
    """The cases that it does not have."""
    relayed: bool = False
    """It is asked through the `Relay`."""
    token: bool = False
    """The credential is an access token."""
    label: str = ""

    @property
    def name(self) -> str:
        """What tells it from the others."""
        return f"{self.provider}{self.label}/{self.wire}"


ENDPOINTS = (
    Endpoint("openai", "openai_chat", "/v1"),
    Endpoint("openai", "openai_responses", "/v1"),
    Endpoint("anthropic", "anthropic_messages", ""),
    Endpoint("gemini", "gemini", "", lacks=("list",)),
    Endpoint("gemini", "openai_chat", "", lacks=("list",)),
    Endpoint("vertex", "gemini", "", VERTEX, lacks=("list",), relayed=True, token=True),
    Endpoint("bedrock", "bedrock_converse", "", {"region": "eu-west-1"}, lacks=("list",)),
    Endpoint("azure", "openai_chat", "", AZURE, lacks=("list",)),
    Endpoint("azure", "openai_responses", "", AZURE, lacks=("list",)),
    Endpoint("azure", "openai_chat", "", AZURE | {"api_version": "2024-10-21"}, lacks=("list",), label=" classic"),
    Endpoint("ollama", "ollama", "", lacks=("usage", "length", "reasoning")),
    Endpoint("ollama", "openai_chat", "", lacks=("list",)),
    Endpoint("openrouter", "openai_chat", "/api/v1"),
    Endpoint("copilot", "openai_chat", "", lacks=("list",)),
    Endpoint("copilot", "openai_responses", "", lacks=("list",)),
    Endpoint("copilot", "anthropic_messages", "", lacks=("list",)),
    Endpoint("cloudflare", "openai_chat", "/client/v4/accounts/a/ai", {"account_id": "a"}, lacks=("list",)),
    Endpoint("cloudflare", "openai_responses", "/client/v4/accounts/a/ai", {"account_id": "a"}, lacks=("list",)),
    Endpoint("groq", "openai_chat", "/openai/v1"),
    Endpoint("cerebras", "openai_chat", "/v1"),
    Endpoint("mistral", "openai_chat", "/v1"),
    Endpoint("deepseek", "openai_chat", "", lacks=("list",)),
    Endpoint("vercel", "openai_chat", "/v1"),
    Endpoint("xai", "openai_chat", "/v1", lacks=("list",)),
    Endpoint("xai", "openai_responses", "/v1", lacks=("list",)),
)


class Mock:
    """The running mock."""

    def __init__(self, port: int, keys: list[str]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._port = port
        self.keys = keys
        """What it takes; a request with another key, or with none, is refused."""
        self.relay = Relay(port)

    def base_url(self, endpoint: Endpoint) -> str:
        """Return the base address at which *endpoint* is asked."""
        return (self.relay.url if endpoint.relayed else self.url) + endpoint.base

    @contextmanager
    def chaos(self, **rates: float) -> Iterator[None]:
        """Let it misbehave so often, between 0 and 1."""
        self._control("POST", "/chaos", rates)
        try:
            yield
        finally:
            self._control("DELETE", "/chaos")

    def _control(self, method: str, path: str, body: object = None) -> None:
        headers = {"authorization": f"Bearer {self.keys[0]}", "content-type": "application/json"}
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=10)) as connection:
            connection.request(method, f"/__aimock{path}", None if body is None else json.dumps(body), headers)
            assert connection.getresponse().status == 200


def program() -> Path | None:
    """Return the mock's program as `make peers` has installed it, or None."""
    installed = Path(os.environ.get("SIDECAR_PEERS", "")) / "node_modules/@copilotkit/aimock/dist/cli.js"
    return installed if installed.is_file() and shutil.which("node") else None


@contextmanager
def running(log: Path, keys: int) -> Iterator[Mock]:
    """Run the mock, which takes so many *keys*; what it says goes to *log*."""
    found = program()
    assert found
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    command = ["node", str(found), "-p", str(port), "-f", str(HERE / "fixtures.json"), "--validate-on-load"]
    taken = [f"{CANARY}-{number}" for number in range(keys)]
    env = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    env["AIMOCK_API_KEYS"] = ",".join(taken)
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=output, env=env)
        try:
            _wait_until_ready(process, log)
            mock = Mock(port, taken)
            with mock.relay:
                yield mock
        finally:
            process.kill()
            process.communicate()


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    """Read what it says until it says that it listens, and let a thread read the rest."""
    assert process.stdout
    output = process.stdout
    ready = threading.Event()

    def read() -> None:
        for line in output:
            if b"listening" in line.lower():
                ready.set()

    threading.Thread(target=read, daemon=True).start()
    assert ready.wait(READY_SECONDS), (
        f"aimock did not start: {log.read_text(encoding='utf-8', errors='replace')[-2000:]}"
    )


class Relay:
    """Passes connections on to the mock, with the one version of Vertex's API that it knows in the place of ours."""

    def __init__(self, port: int) -> None:
        self._mock = ("127.0.0.1", port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._ended = threading.Event()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while not self._ended.is_set():
                threading.Thread(target=self._pass_on, args=[self._listening.accept()[0]], daemon=True).start()

    def _pass_on(self, asking: socket.socket) -> None:
        with (
            asking,
            socket.create_connection(self._mock) as answering,
            selectors.DefaultSelector() as waiting,
            suppress(OSError),
        ):
            waiting.register(asking, selectors.EVENT_READ, answering)
            waiting.register(answering, selectors.EVENT_READ, asking)
            while True:
                for key, _ in waiting.select():
                    data = key.fileobj.recv(65_536)  # type: ignore[union-attr]  # a socket
                    if not data:
                        return
                    key.data.sendall(data.replace(b" /v1beta1/", b" /v1/", 1) if key.fileobj is asking else data)
