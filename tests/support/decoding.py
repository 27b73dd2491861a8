"""A reply at hand, decoded as the program decodes one that comes."""

from collections.abc import Callable, Iterable
from typing import Any

from protocol.messages import State
from protocol.replies import Chunk
from sidecar.core.json_values import open_state
from sidecar.generation.response_stream import ResponseStream
from sidecar.wires import registry
from sidecar.wires.shared.types import Outcome, Route


def play(
    route: Route, status: int, headers: dict[str, str], pieces: Iterable[bytes], sink: Callable[[list[Chunk]], object]
) -> Outcome:
    """Decode a reply at hand, giving the chunks of each piece to *sink*, and return its outcome.

    Raises: SidecarError as `Reply` and the wire's `classify` do.
    """
    wire = registry.load(route.wire)
    if status >= 300:
        raise wire.classify(status, headers, b"".join(pieces))
    reply = ResponseStream(wire, route, headers)
    for data in pieces:
        out: list[Chunk] = []
        try:
            reply.feed(data, out)
        finally:
            sink(out)
        if reply.finished:
            break
    out = []
    try:
        return reply.end(out)
    finally:
        sink(out)


def state_data(state: str | State | None) -> Any:
    """Return what a provider left in the *state* of a part."""
    opened = open_state(state)
    return None if opened is None else opened.data
