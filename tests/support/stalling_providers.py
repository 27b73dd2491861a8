"""Providers that never come to an end, each in its own way."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal, get_args

from tests.support.fake_provider import STALL, Pause, Provider, Step
from tests.support.process import Id, Object, Sidecar
from tests.support.reply_scripts import ANTHROPIC, Shape, stream

Phase = Literal["connect", "tls", "headers", "error", "body"]
PHASES: tuple[Phase, ...] = get_args(Phase)


def lively(shape: Shape = ANTHROPIC, pause_seconds: float = 0.01) -> list[Step]:
    """Return a reply that goes on and on."""
    on_and_on: list[Step] = [Pause(pause_seconds), shape.text("x")]
    return stream([shape.opening, *on_and_on * 10_000])


@contextmanager
def stalled(
    sidecar: Sidecar, provider: Provider, phase: Phase, timeouts: Object | None = None, **envelope: object
) -> Iterator[Id]:
    """Yield the id of a chat, under the option *timeouts*, whose provider has fallen silent in *phase*."""
    provider.play("headers", [STALL])
    provider.play("error", [b"HTTP/1.1 400 Oh\r\ncontent-length: 9\r\n\r\n{", STALL])
    provider.play("body", ANTHROPIC.begun("x", STALL))
    params = sidecar.params(phase)
    params["options"]["timeouts"] = timeouts
    with full_house() as port:
        if phase == "connect":
            params["base_url"] = f"http://127.0.0.1:{port}"
        if phase == "tls":
            params["base_url"] = provider.url.replace("http:", "https:")
        begun, calls = provider.begun, len(provider.calls(phase))
        request_id = sidecar.send("stream_chat", params, provider="anthropic", **envelope)
        if phase == "connect":
            sidecar.ping()
        elif phase == "tls":
            provider.hears(begun + 1)
        else:
            provider.call(phase, calls)
        if phase == "body":
            sidecar.chunk(request_id, 1)
        yield request_id


@contextmanager
def full_house(address: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Yield a port on which no connection is ever accepted."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family, backlog=0) as server, ExitStack() as guests:
        port = server.getsockname()[1]
        for _ in range(4):
            guest = guests.enter_context(socket.socket(family))
            guest.setblocking(False)
            guest.connect_ex((address, port))
        yield port
