"""Completions: the program's own share of one, how soon a superseded one ends, and which keystrokes wait for a socket.

The provider is a thread of the measuring process, so that all times are of one clock.
"""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from statistics import median
from typing import Any

from tests.bench import processes
from tests.bench.host import Host, hosting
from tests.bench.report import Bar, Figure, percentile

WARM = 10
SAMPLES = 100

KEYSTROKES = 50
PER_SECOND = 8

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def _framed(event: str) -> bytes:
    data = f"data: {event}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


_TEXT = _framed('{"choices":[{"index":0,"delta":{"content":"PI * r * r"}}]}')
_STOP = _framed('{"choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}]}')
_END = _STOP + _framed("[DONE]") + b"0\r\n\r\n"


class Asked:
    """One request: when it was whole, when its last byte was written, and when it was left."""

    def __init__(self, connected_at: float, body: dict[str, Any]) -> None:
        self.connected_at = connected_at
        self.at = time.monotonic()
        self.prompt: str = body["prompt"]
        self.written_at = 0.0
        self.left_at = 0.0


class Provider:
    """Answers a prompt at once; one that ends in `hang` gets a piece and no end."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.connected: list[float] = []
        self._changed = threading.Condition()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def wait(self, count: int) -> Asked:
        """Return the request of that number, from 1, once it has come."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.asked) >= count, 10)
            return self.asked[count - 1]

    def wait_until_left(self, asked: Asked) -> float:
        """Return when the request was left."""
        with self._changed:
            assert self._changed.wait_for(lambda: asked.left_at, 10)
            return asked.left_at

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(connection, time.monotonic()), daemon=True).start()

    def _serve(self, connection: socket.socket, connected_at: float) -> None:
        self.connected.append(connected_at)
        with connection, suppress(OSError):
            while (body := _read(connection)) is not None:
                asked = Asked(connected_at, body)
                self._note(lambda asked=asked: self.asked.append(asked))
                connection.sendall(_HEAD + _TEXT)
                if asked.prompt.endswith("hang"):
                    with suppress(OSError):
                        connection.recv(1)
                    self._note(lambda asked=asked: setattr(asked, "left_at", time.monotonic()))
                    return
                asked.written_at = time.monotonic()
                connection.sendall(_END)

    def _note(self, change: Any) -> None:
        with self._changed:
            change()
            self._changed.notify_all()


def _read(connection: socket.socket) -> dict[str, Any] | None:
    received = b""
    while True:
        head, end, rest = received.partition(b"\r\n\r\n")
        if end and len(rest) >= (length := int(match[1]) if (match := _LENGTH.search(head)) else 0):
            body: dict[str, Any] = json.loads(rest[:length])
            return body
        data = connection.recv(65536)
        if not data:
            return None
        received += data


@contextmanager
def _running() -> Iterator[tuple[Provider, Host]]:
    provider = Provider()
    try:
        with hosting() as host:
            yield provider, host
    finally:
        provider.close()


def _send(host: Host, provider: Provider, prefix: str) -> int:
    params = {
        "model": "codestral-bench",
        "prefix": prefix,
        "suffix": "\n\nprint(area(2))\n",
        "slot": "window",
        "api_key": "k-test",
        "base_url": f"http://127.0.0.1:{provider.port}/v1",
    }
    return host.send("complete", provider="mistral", params=params)


def completions() -> Iterator[Figure]:
    """Measure completions, warm: the program's own share, takeovers, and fast typing."""
    with _running() as (provider, host):
        yield from _own_share(host, provider)
    with _running() as (provider, host):
        yield from _superseded(host, provider)
    with _running() as (provider, host):
        yield from _keystrokes(host, provider)


def _own_share(host: Host, provider: Provider) -> Iterator[Figure]:
    way_in, way_out = [], []
    cpu_s = 0.0
    for number in range(WARM + SAMPLES):
        if number == WARM:
            cpu_s = processes.cpu_s(host.pid)
        sent_at = time.monotonic()
        request_id = _send(host, provider, f"def area{number}(r):\n    return ")
        end = host.wait(request_id, "reply")
        asked = provider.wait(number + 1)
        if number >= WARM:
            way_in.append((asked.at - sent_at) * 1e3)
            way_out.append((end.at - asked.written_at) * 1e3)
    cpu_ms = (processes.cpu_s(host.pid) - cpu_s) / SAMPLES * 1e3
    yield Figure(what="CPU of one, in and out", value=cpu_ms, unit="ms", bars=(Bar(2),))
    for what, values in (("line in to request out", way_in), ("last byte to line out", way_out)):
        yield Figure(what=f"{what}, median", value=median(values), unit="ms", bars=(Bar(2),))
        yield Figure(what=f"{what}, 95 of 100", value=percentile(values, 95), unit="ms")


def _superseded(host: Host, provider: Provider) -> Iterator[Figure]:
    line_ms, socket_ms = [], []
    older = _send(host, provider, "a hang")
    asked = provider.wait(1)
    for number in range(30):
        start = time.monotonic()
        newer = _send(host, provider, f"{number} hang")
        line_ms.append((host.wait(older, "failed").at - start) * 1e3)
        socket_ms.append((provider.wait_until_left(asked) - start) * 1e3)
        asked, older = provider.wait(number + 2), newer
    host.send("cancel", params={"id": older})
    yield Figure(what="superseded to its last line, median", value=median(line_ms), unit="ms", bars=(Bar(10),))
    yield Figure(what="superseded to its socket closed, median", value=median(socket_ms), unit="ms", bars=(Bar(50),))
    yield Figure(what="superseded to its last line, highest", value=max(line_ms), unit="ms", bars=(Bar(10),))
    yield Figure(what="superseded to its socket closed, highest", value=max(socket_ms), unit="ms", bars=(Bar(50),))


def _keystrokes(host: Host, provider: Provider) -> Iterator[Figure]:
    sent_at: list[float] = []
    ids: list[int] = []
    for number in range(KEYSTROKES):
        sent_at.append(time.monotonic())
        ids.append(_send(host, provider, f"{'x' * number} hang"))
        provider.wait(number + 1)
        # Not from when it was sent: the first one loads what it needs.
        time.sleep(1 / PER_SECOND)
    waited = sum(asked.connected_at > at for asked, at in zip(provider.asked, sent_at, strict=True))
    host.send("cancel", params={"id": ids[-1]})
    what = f"of {KEYSTROKES} keystrokes, each cancelled by the next"
    yield Figure(what=f"{what}: waited for a handshake", value=waited, unit="", bars=(Bar(1),))
    provider_asked = len(provider.connected)
    yield Figure(what="… connections in all", value=provider_asked, unit="", bars=(Bar(KEYSTROKES + 2),))
    answered = len(provider.connected)
    for number in range(KEYSTROKES):
        at = time.monotonic()
        host.wait(_send(host, provider, f"{'y' * number}."), "reply")
        time.sleep(max(0.0, 1 / PER_SECOND - (time.monotonic() - at)))
    made = len(provider.connected) - answered
    yield Figure(
        what=f"of {KEYSTROKES} keystrokes, each answered: new connections", value=made, unit="", bars=(Bar(1),)
    )
