"""Six faults on every wire: a rate limit, an outage, a cut, a broken connection, a bad frame, a silence."""

from typing import NamedTuple

import pytest

from tests.generation.faults.wires import WIRES, Wire
from tests.support.fake_provider import RESET, STALL, Provider, Step
from tests.support.lines import Line, Object, text
from tests.support.program import Program
from tests.support.reply_scripts import document

BY_WIRE = pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)

IDLE_MS = 300

GARBAGE = b"data: {\xff nope\n\n"
"""No event on any wire: no JSON, and no message of an event stream."""


class Fault(NamedTuple):
    """How a reply goes wrong once its head, and perhaps some text, has come."""

    steps: list[Step]
    code: str
    is_asked_again: bool
    """Whether a reply that goes wrong so before any text is asked for again."""


FAULTS = {
    "truncation": Fault([b"0\r\n\r\n"], "stream_interrupted", is_asked_again=True),
    "disconnect": Fault([RESET], "stream_interrupted", is_asked_again=True),
    "malformed": Fault([b"%x\r\n%s\r\n0\r\n\r\n" % (len(GARBAGE), GARBAGE)], "provider_error", is_asked_again=True),
    "stall": Fault([STALL], "timeout", is_asked_again=False),
}

BY_FAULT = pytest.mark.parametrize("fault", FAULTS)

DAMAGED = {"bedrock_converse": "stream_interrupted"}
"""By wire: its code for a bad frame, where frames have a checksum and garbage is damage."""


def ask(sidecar: Program, wire: Wire, name: str, *scripts: list[Step]) -> list[Line]:
    """Ask for what *scripts* answer in turn, and return the lines."""
    assert sidecar.provider
    sidecar.provider.play_in_turn(name, *scripts)
    params = wire.params(sidecar.provider, name, timeouts={"idle_ms": IDLE_MS})
    return sidecar.stream(sidecar.send("stream_chat", params, provider=wire.provider))


def waits(lines: list[Line]) -> list[Object]:
    """Return what a host was told of the waits."""
    chunks = [line.data["data"] for line in lines if "streaming" in line.data]
    return [chunk for chunk in chunks if chunk["type"] == "status" and chunk["state"] == "retrying"]


@BY_WIRE
@pytest.mark.parametrize(("status", "code"), [(429, "rate_limited"), (503, "provider_overloaded")])
def test_a_refusal_that_passes_is_asked_again_when_it_says(
    sidecar: Program, provider: Provider, wire: Wire, status: int, code: str
) -> None:  # E01, E07
    refusal = document({"error": {"message": "Later."}}, status, retry_after="1")
    lines = ask(sidecar, wire, "again", refusal, wire.whole())
    done = lines[-1].data["data"]
    assert text(lines) == wire.text
    assert [attempt.get("code") for attempt in done["attempts"]] == [code, None]
    [told] = waits(lines)
    assert (told["code"], told["attempt"]) == (code, 1)
    assert 1000 <= told["wait_ms"] <= 1250
    refused, answered = provider.calls("again")
    assert 1 <= answered.at - refused.at < 2


@BY_WIRE
@BY_FAULT
def test_what_breaks_after_the_first_text_is_told_and_not_asked_again(
    sidecar: Program, provider: Provider, wire: Wire, fault: str
) -> None:  # D08, D09, D11, D17, D30
    gate = provider.gate()
    provider.play("broken", [*wire.begun(wire.pieces[: wire.first_text]), gate, *FAULTS[fault].steps])
    params = wire.params(provider, "broken", timeouts={"idle_ms": IDLE_MS})
    request_id = sidecar.send("stream_chat", params, provider=wire.provider)
    while not text(sidecar.lines_of(request_id)):
        sidecar.chunk(request_id, len(sidecar.lines_of(request_id)))
    gate.open()
    lines = sidecar.stream(request_id)
    error = lines[-1].data["error"]
    said = text(lines)
    expected = DAMAGED.get(wire.name, FAULTS[fault].code) if fault == "malformed" else FAULTS[fault].code
    assert (error["code"], error["partial"], error["attempts"]) == (expected, True, 1)
    assert error["partial_seq"] == lines[-2].data["seq"]
    assert said
    assert wire.text.startswith(said)
    assert error.get("phase") == ("idle" if fault == "stall" else None)
    assert len(provider.calls("broken")) == 1


@BY_WIRE
@BY_FAULT
def test_what_breaks_before_the_first_text_is_asked_again_unseen(
    sidecar: Program, provider: Provider, wire: Wire, fault: str
) -> None:  # D10
    lines = ask(sidecar, wire, "early", [*wire.begun([]), *FAULTS[fault].steps], wire.whole())
    if FAULTS[fault].is_asked_again:
        assert text(lines) == wire.text
        assert lines[-1].data["data"]["type"] == "done"
        assert len(provider.calls("early")) == 2
    else:
        error = lines[-1].data["error"]
        assert (error["code"], error["phase"], error["partial"]) == ("timeout", "idle", False)
        assert len(provider.calls("early")) == 1
