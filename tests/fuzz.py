"""Recorded replies with parts of their events replaced, each decoded to one end that can be written.

    python -m tests.fuzz replies 1000000

A number after that is the seed. What a wire raises but SidecarError ends the run with the reply that did it.
"""

# ruff: noqa: T201 - a command that reports on a terminal

import json
import random
import sys
import time
from contextlib import suppress
from functools import cache
from typing import Any

import msgspec

from protocol.replies import Chunk
from sidecar.codecs.registry import make_codec
from sidecar.core.errors import SidecarError
from sidecar.generation.response_stream import ResponseStream
from sidecar.wires import registry
from tests.support import recorded_replies
from tests.support.recorded_replies import Recorded

Event = tuple[str, bytes]
"""The name of an event, and its payload."""

LONGEST_BYTES = 20_000

MAX_CHANGES = 4

PLAIN = (
    None,
    True,
    False,
    0,
    1,
    -1,
    5,
    2**53,
    10**15 + 1,
    -(10**30),
    int("9" * 4300),
    0.5,
    1e308,
    "",
    "x",
    "é\u202e\n",
)
STRUCTURED: tuple[Any, ...] = (
    [],
    {},
    [[]],
    [None],
    [{}],
    {"type": None},
    {"": ""},
    "y" * 5000,
    "[" * 1000,
    ["a"] * 300,
)


def nest(levels: int) -> Any:
    """Return an object of so many levels."""
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


DEEP = tuple(map(nest, (150, 200, 240, 300)))


@cache
def read_events(reply: Recorded) -> list[Event]:
    """Return the events of *reply*."""
    codec = make_codec(registry.load(reply.wire).CODEC)
    frames = codec.feed(reply.body)
    with suppress(SidecarError):
        frames += codec.finish()
    return frames


def list_places(value: Any, found: list[tuple[Any, Any]]) -> None:
    """Append each (container, key) inside *value* to *found*."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        found.append((value, key))
        list_places(inner, found)


def mutate(events: list[Event], chance: random.Random) -> list[Event]:
    """Return *events* with a few values replaced or removed, and events dropped, doubled or shuffled."""
    events = list(events)
    for _ in range(chance.randint(1, MAX_CHANGES)):
        if not events:
            break
        at = chance.randrange(len(events))
        what = chance.random()
        if what < 0.1:
            del events[at]
        elif what < 0.2:
            events.insert(chance.randrange(len(events) + 1), events[at])
        elif what < 0.25:
            chance.shuffle(events)
        else:
            name, payload = events[at]
            # A few deep values inside each other are more than the writer here takes.
            with suppress(ValueError, RecursionError):
                events[at] = name, json.dumps(_replace(json.loads(payload), chance)).encode()
    return events


def _replace(payload: Any, chance: random.Random) -> Any:
    places: list[tuple[Any, Any]] = []
    list_places(payload, places)
    junk = chance.choice(chance.choices((PLAIN, STRUCTURED, DEEP), (8, 4, 1))[0])
    if not places or chance.random() < 0.02:
        return junk
    container, key = chance.choice(places)
    match chance.randrange(4):
        case 0:
            del container[key]
        case 1:
            other, other_key = chance.choice(places)
            container[key] = other[other_key]
        case _:
            container[key] = junk
    return payload


def check(reply: Recorded, events: list[Event]) -> str:
    """Decode *events* as the program does, write what came, and return `done` or the code of the error."""
    codec_name = registry.load(reply.wire).CODEC
    stream, out = ResponseStream(registry.load(reply.wire), reply.route, reply.headers), list[Chunk]()
    decoder = registry.load(reply.wire).Decoder(reply.route)
    end: Any
    try:
        for name, data in events:
            if codec_name == "sse":
                stream.feed(b"event: %s\ndata: %s\n\n" % (name.encode(), data) if name else b"data: %s\n\n" % data, out)
            elif codec_name == "ndjson":
                stream.feed(data + b"\n", out)
            else:
                # Its frames have checksums: the codec would refuse what is fed by hand.
                decoder.feed((name, data), out)
        end = (stream if codec_name != "aws_eventstream" else decoder).end(out)
        result = "done"
    except SidecarError as error:
        end, result = error.body, error.body.code
    usage, partial = (stream if codec_name != "aws_eventstream" else decoder).usage, decoder.build_partial()
    if codec_name != "aws_eventstream":
        partial = stream.build_partial()
    msgspec.json.encode([out, end, usage, partial])
    return result


def run(count: int, seed: int = 0) -> dict[str, int]:
    """Check *count* mutations and return how often each end came."""
    replies = recorded_replies.of_fixtures() + recorded_replies.of_corpus()
    streams = [each for each in replies if not each.is_document and len(each.body) <= LONGEST_BYTES]
    ends: dict[str, int] = {}
    for number in range(count):
        chance = random.Random(f"{seed}/{number}")
        reply = chance.choice(streams)
        events = mutate(read_events(reply), chance)
        try:
            end = check(reply, events)
        except Exception as error:
            raise AssertionError(f"mutation {number} of seed {seed}, of {reply.name}: {error!r}") from error
        ends[end] = ends.get(end, 0) + 1
    return ends


def main(arguments: list[str]) -> int:
    """Run the command and return its exit code."""
    if len(arguments) not in (2, 3) or arguments[0] != "replies":
        print(__doc__)
        return 2
    started = time.monotonic()
    ends = run(*map(int, arguments[1:]))
    print(f"{sum(ends.values())} mutations in {time.monotonic() - started:.0f} s: {ends}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
