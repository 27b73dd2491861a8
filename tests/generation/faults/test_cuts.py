"""Replies of every wire that end at any byte, in three ways: the host has what came, and one true end of it."""

import random
from itertools import cycle
from typing import Any

import msgspec
import pytest

from protocol.replies import Content, Reasoning, ToolCallDelta
from tests.generation.faults.wires import WIRES, Wire
from tests.support import recorded_replies
from tests.support.fake_provider import CLOSE, RESET, Provider, Step
from tests.support.fixtures import ROOT, Case
from tests.support.lines import Line
from tests.support.program import Program
from tests.support.provider_rows import TOOLS, case_of
from tests.support.recorded_replies import Recorded
from tests.wires.test_cuts import marked_from, whole

pytestmark = pytest.mark.long

CUTS = 45

ENDS: dict[str, Step] = {"clean": b"0\r\n\r\n", "closed": CLOSE, "reset": RESET}

BROKEN = (CLOSE, RESET)

SAID: dict[type[Any], str] = {Content: "content", Reasoning: "reasoning", ToolCallDelta: "arguments_delta"}
"""What a reply says → the field of its chunk."""


def cut_at(body: bytes) -> list[int]:
    """Return where to cut *body*: spread over all of it, and around its end, where the marker stands."""
    spread = random.Random(len(body)).sample(range(len(body)), CUTS - 5)
    return sorted({*spread, 0, *range(len(body) - 4, len(body))})


def came(lines: list[Line], kind: str) -> str:
    """Return all that *lines* say in that field."""
    chunks = [line.data["data"] for line in lines if "streaming" in line.data and line.data["data"]["type"] != "done"]
    return "".join(chunk.get(kind, "") for chunk in chunks)


def from_another_server(reply: Recorded) -> Recorded:
    """Return *reply* as it is read where the address is not the provider's own: the finish reason is its end."""
    quirks = msgspec.structs.replace(reply.route.quirks, done_marker=False)
    return msgspec.structs.replace(reply, route=msgspec.structs.replace(reply.route, quirks=quirks))


def expected(reply: Recorded) -> dict[str, str]:
    """Return what the whole reply says, by field."""
    chunks: list[Any] = whole(reply).chunks
    return {
        field: "".join(getattr(chunk, field) for chunk in chunks if isinstance(chunk, kind))
        for kind, field in SAID.items()
    }


def check(lines: list[Line], reply: Recorded, at: int, end: Step) -> None:
    """Assert that *lines* are what a host must see of the reply's first bytes."""
    full, marked_at = expected(reply), marked_from(reply)
    assert all(text.startswith(came(lines, field)) for field, text in full.items()), at
    is_marked = marked_at is not None and at >= marked_at
    last = lines[-1].data
    if last["success"]:
        assert is_marked, at
        assert {field: came(lines, field) for field in full} == full, at
        return
    # A connection that breaks may take with it what was not read yet, or what had no line end yet.
    assert not is_marked or end in BROKEN, at
    error = last["error"]
    assert error["code"] in ("stream_interrupted", "provider_error", "network_error"), (at, error)
    assert error["partial"] is (len(lines) > 1), at
    if error["partial"]:
        assert error["code"] != "network_error", at
        parts = error["partial_message"]["content"]
        assert "".join(part["text"] for part in parts if part["type"] == "text") == came(lines, "content"), at


@pytest.mark.parametrize("is_calling", [False, True], ids=["text", "tools"])
@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)
def test_a_reply_that_ends_anywhere_is_told_as_far_as_it_came(
    sidecar: Program, provider: Provider, wire: Wire, is_calling: bool
) -> None:  # D08, D09, D30
    case = case_of(wire.name, TOOLS) if is_calling else Case(ROOT / wire.name / wire.case)
    reply = from_another_server(recorded_replies.of_fixture(case))
    # A call of a tool that the request has not declared is none.
    tools = case.call["params"].get("options", {}).get("tools", [])
    asked = {}
    for at, (name, end) in zip(cut_at(reply.body), cycle(ENDS.items()), strict=False):
        head, piece = wire.begun([]), reply.body[:at]
        steps = [*head, b"%x\r\n%s\r\n" % (at, piece)] if piece else head
        model = provider.play(f"{name}-{at}", [*steps, end])
        params = wire.params(provider, model, retry={"max_attempts": 1}, tools=tools)
        asked[sidecar.send("stream_chat", params, provider=wire.provider)] = (at, end)
    assert len(asked) >= 40
    for request_id, (at, end) in asked.items():
        check(sidecar.stream(request_id), reply, at, end)
