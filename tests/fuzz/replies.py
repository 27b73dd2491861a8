"""Recorded replies with values replaced and events moved, each decoded to one end that can be written."""

import json
import random
from contextlib import suppress
from functools import cache
from typing import Any

import msgspec

from protocol.replies import Chunk
from sidecar.codecs.registry import make_codec
from sidecar.core.errors import SidecarError
from sidecar.generation.response_stream import ResponseStream
from sidecar.wires import registry
from tests.fuzz.values import mutate_value
from tests.support import recorded_replies
from tests.support.recorded_replies import Recorded

Event = tuple[str, bytes]
"""The name of an event, and its payload."""

LONGEST_BYTES = 20_000

MAX_CHANGES = 4


@cache
def read_events(reply: Recorded) -> list[Event]:
    """Return the events of *reply*."""
    codec = make_codec(registry.load(reply.wire).CODEC)
    frames = codec.feed(reply.body)
    with suppress(SidecarError):
        frames += codec.finish()
    return frames


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
                events[at] = name, json.dumps(mutate_value(json.loads(payload), chance)).encode()
    return events


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
