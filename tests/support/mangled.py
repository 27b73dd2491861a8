"""Streams that no provider should send: recorded events with values replaced, events dropped, doubled and shuffled."""

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from protocol.replies import Chunk
from sidecar.codecs.sse import Codec
from sidecar.core.errors import SidecarError
from sidecar.wires import registry
from sidecar.wires.shared.types import Outcome, Route
from tests.support.fixtures import Case, cases, route

JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.sampled_from(["", "x", "message"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "text", "id"]), inner),
    max_leaves=4,
)


def events(case: Case) -> list[Any]:
    """Return the payloads of a case's stream."""
    return [json.loads(data) for _, data in Codec().feed(case.body) if data != b"[DONE]"]


def streams(wire: str) -> list[Case]:
    """Return the cases of *wire* that are streams."""
    return [case for case in cases(wire) if any(case.path.glob("response.sse"))]


@st.composite
def mangled(draw: st.DrawFn, wire: str) -> tuple[Route, list[bytes]]:
    """Draw a route and the payloads of a mangled stream."""
    case = draw(st.sampled_from(streams(wire)))
    payloads: list[Any] = []
    for event in events(case):
        times = draw(st.sampled_from([1, 1, 1, 1, 0, 2]))
        payloads.extend([event] * times)
    for _ in range(draw(st.integers(0, 4))):
        if payloads:
            at = draw(st.integers(0, len(payloads) - 1))
            payloads[at] = _replaced(draw, payloads[at])
    if draw(st.booleans()):
        payloads = draw(st.permutations(payloads))
    return route(case), [json.dumps(event).encode() for event in payloads]


def _replaced(draw: st.DrawFn, event: Any) -> Any:
    """Return *event* with one value of it, at any depth, replaced by junk."""
    path = draw(st.sampled_from(list(_paths(event))))
    junk = draw(JUNK)
    copy = json.loads(json.dumps(event))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    if not path:
        return junk
    inner[path[-1]] = junk
    return copy


def _paths(value: Any) -> Iterator[tuple[Any, ...]]:
    yield ()
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        for rest in _paths(inner):
            yield (key, *rest)


def outcome(wire: str, stream: tuple[Route, list[bytes]]) -> Outcome | SidecarError:
    """Return what a decoder makes of *stream*; anything but a SidecarError gets through."""
    target, payloads = stream
    decoder = registry.load(wire).Decoder(target)
    out: list[Chunk] = []
    try:
        for data in payloads:
            decoder.feed(("", data), out)
        return decoder.end(out)
    except SidecarError as error:
        return error
