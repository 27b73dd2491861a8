"""Servers that are started for a test, and the program that asks them."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.environment import environment

READY_SECONDS = 120.0
ANSWER_SECONDS = 60.0

Object = dict[str, Any]


def find_program(package: str, name: str) -> str:
    """Return the program *name* of *package* or of the system; skips the test where there is none."""
    installed = Path(os.environ["SIDECAR_SERVERS"]) / package / "bin" / name
    found = str(installed) if installed.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def free_port() -> int:
    """Return a port that nobody listens at."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(command: Sequence[str], port: int, folder: Path, env: Mapping[str, str] | None = None) -> Iterator[None]:
    """Run *command* until it listens at *port*, and end it afterwards."""
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=dict(os.environ) | dict(env or {}), stdout=output, stderr=subprocess.STDOUT
        )
        try:
            end = time.monotonic() + READY_SECONDS
            while not _listens(port):
                assert process.poll() is None, log.read_text(encoding="utf-8", errors="replace")[-3000:]
                assert time.monotonic() < end, log.read_text(encoding="utf-8", errors="replace")[-3000:]
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            process.wait(20)


def _listens(port: int) -> bool:
    with closing(socket.socket()) as client:
        client.settimeout(0.2)
        return client.connect_ex(("127.0.0.1", port)) == 0


def ask(home: Path, requests: Sequence[Object], config: str = "", **env: str) -> dict[Any, Object]:
    """Return the terminal line of each request, by its id; the program must leave with 0 and without a word."""
    arguments = []
    if config:
        (home / "config.toml").write_text(config, encoding="utf-8")
        arguments = ["--config", str(home / "config.toml")]
    given = {name: value for name, value in (environment(home) | {"SIDECAR_LOG": "error"} | env).items() if value}
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", *arguments],
        input="".join(json.dumps(each) + "\n" for each in requests).encode(),
        cwd=home,
        env=given,
        capture_output=True,
        check=True,
        timeout=ANSWER_SECONDS,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["id"]: line for line in lines if "streaming" not in line or line["data"]["type"] == "done"}


def chat(request_id: Any, model: str, provider: str | None = None, action: str = "generate", **options: Any) -> Object:
    """Return the request of a chat."""
    messages = [{"role": "user", "content": "Hi"}]
    request = {"id": request_id, "action": action, "params": {"model": model, "messages": messages, "options": options}}
    return request | ({"provider": provider} if provider else {})


@contextmanager
def listening() -> Iterator[tuple[int, list[dict[str, str]]]]:
    """Yield the port of a server that refuses every request, and the headers of those that came."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            seen.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(400)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the library
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], seen
        server.shutdown()
