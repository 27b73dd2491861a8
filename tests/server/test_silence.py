"""What a host hears of a stream that says nothing, and how long each kind of silence is borne."""

import time
from pathlib import Path

import pytest

from tests.support.environment import environment
from tests.support.fake_provider import STALL, Pause, Provider, Step
from tests.support.in_process import InProcess
from tests.support.lines import Id, Object, text
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC, document, opened, stream

HEARTBEAT_MS = 1000

LATE_MS = 1000
"""What a busy machine may add."""


def hear(sidecar: Program, *events: str, heartbeat_ms: int = HEARTBEAT_MS) -> None:
    """Have the process tell of waits."""
    reply = sidecar.ask("initialize", {"events": list(events), "heartbeat_ms": heartbeat_ms})
    assert reply["success"]


def status(sidecar: Program, request_id: Id, index: int) -> Object:
    """Return the chunk of that index, which is a `status`."""
    chunk: Object = dict(sidecar.chunk(request_id, index).data["data"])
    assert chunk.pop("type") == "status"
    return chunk


def is_about(found: int, wanted: int) -> bool:
    """Return whether a silence of *wanted* milliseconds has been told of in time: looks are a fifth apart."""
    return wanted <= found <= wanted + HEARTBEAT_MS // 5 * (wanted // HEARTBEAT_MS) + LATE_MS


def test_what_is_told_of_a_wait_is_no_content_and_comes_before_it_and_never_after(
    sidecar: Program, provider: Provider
) -> None:
    hear(sidecar, "status")
    first, second = provider.gate(), provider.gate()
    begun = stream([ANTHROPIC.opening, ANTHROPIC.text("on"), second, ANTHROPIC.text("ward"), ANTHROPIC.closing])
    provider.play("m", [first, *begun])
    request_id = sidecar.chat("m")
    assert status(sidecar, request_id, 0)["phase"] == "headers"
    first.open()
    types = [sidecar.chunk(request_id, index).data["data"]["type"] for index in (1, 2, 3)]
    assert types == ["start", "content", "status"]
    # The silence is one of the stream's, and not of the request's.
    assert is_about(sidecar.chunk(request_id, 3).data["data"]["silent_ms"], HEARTBEAT_MS)
    second.open()
    lines = sidecar.stream(request_id)
    assert (text(lines), lines[-1].data["data"]["finish_reason"]) == ("onward", "stop")


@pytest.mark.parametrize(("asks", "streams"), [(True, False), (False, True)], ids=["generate", "nobody asked"])
def test_who_did_not_ask_and_who_hears_the_end_alone_is_told_nothing(
    sidecar: Program, provider: Provider, tmp_path: Path, asks: bool, streams: bool
) -> None:
    home = tmp_path / "other"
    home.mkdir()
    gate = provider.gate()
    provider.play("m", [gate, *ANTHROPIC.answer("late")])
    with InProcess(home, provider) as clock:
        # The other process says when the time has come, for both.
        hear(clock, "status")
        hear(sidecar, *(["status"] if asks else []))
        request_id = sidecar.chat("m", action="stream_chat" if streams else "generate")
        provider.call("m")
        there = clock.chat("m")
        status(clock, there, 1)
        assert not sidecar.lines_of(request_id)
        gate.open()
        assert clock.stream(there)[-1].code is None
    assert sidecar.stream(request_id)[-1].code is None
    assert len(sidecar.lines_of(request_id)) == (3 if streams else 1)


def test_a_request_in_a_queue_and_one_that_waits_for_its_next_try_say_so(tmp_path: Path, provider: Provider) -> None:
    gate, env = provider.gate(), environment(tmp_path, SIDECAR_CONCURRENCY="1", SIDECAR_MAX_ATTEMPTS="2")
    refusal = document({"type": "error", "error": {"type": "overloaded_error"}}, 529, retry_after="2")
    provider.play_in_turn("again", refusal, ANTHROPIC.answer("at last"))
    provider.play("first", [gate, *ANTHROPIC.answer("one")])
    with InProcess(tmp_path, provider, env=env) as sidecar:
        hear(sidecar, "status")
        again = sidecar.chat("again")
        assert status(sidecar, again, 0)["state"] == "retrying"
        told = status(sidecar, again, 1)
        assert 0 < told.pop("wait_ms") <= 2500 - HEARTBEAT_MS
        assert is_about(told.pop("silent_ms"), HEARTBEAT_MS)
        assert told == {"state": "retrying", "phase": "queue"}
        # Told of twice, it was tried again all the same.
        assert text(sidecar.stream(again)) == "at last"
        first = sidecar.chat("first")
        provider.call("first")
        queued = sidecar.chat("first")
        assert status(sidecar, queued, 0)["state"] == "queued"
        told = status(sidecar, queued, 1)
        assert is_about(told.pop("silent_ms"), HEARTBEAT_MS)
        assert told == {"state": "queued", "phase": "queue"}
        gate.open()
        assert [text(sidecar.stream(each)) for each in (first, queued)] == ["one", "one"]


QUICK, THINKS = "claude-3-haiku-20240307", "claude-opus-4-5-20251101"

PING = b'event: ping\ndata: {"type":"ping"}\n\n'


def _each_time(*steps: Step) -> list[Step]:
    return [*steps] * 40


SLOW = opened([ANTHROPIC.opening, *_each_time(Pause(100), ANTHROPIC.text("x"))])

SILENCES: dict[str, tuple[float, str, str | None, list[Step]]] = {
    "first_byte": (120, "headers", None, [STALL]),
    "idle": (300, "idle", None, opened([ANTHROPIC.opening, STALL])),
    "progress": (300, "progress", None, opened([ANTHROPIC.opening, *_each_time(Pause(50), PING)])),
    "total": (600, "idle", "deadline", SLOW),
}
"""Limit → its seconds, how the error names it, and a provider that never keeps it."""


@pytest.mark.parametrize("limit", SILENCES)
def test_every_phase_has_a_limit_by_default_and_a_longer_one_for_models_that_reason(
    sidecar: Program, provider: Provider, limit: str
) -> None:  # D05, D11, D12
    seconds, phase, reason, steps = SILENCES[limit]
    provider.play(QUICK, steps)
    provider.play(THINKS, steps)
    thinks = sidecar.chat(THINKS)
    provider.call(THINKS)
    begun, request_id = time.monotonic(), sidecar.chat(QUICK)
    end = sidecar.stream(request_id, 2 * seconds)[-1]
    error = end.data["error"]
    assert (error["code"], error["phase"], error.get("reason")) == ("timeout", phase, reason)
    # What is not content is looked at as it comes.
    assert seconds <= end.at - begun <= seconds + (50 if limit == "progress" else 0.1)
    # It has waited for longer, and does so still.
    assert not any(line.terminal for line in sidecar.lines_of(thinks))
    sidecar.ask("cancel", {"id": thinks})
    assert sidecar.reply(thinks)["error"]["code"] == "cancelled"


def test_what_is_no_chat_has_a_limit_in_all_too(sidecar: Program, provider: Provider) -> None:  # D12
    provider.play("models", opened(_each_time(Pause(100), b" ")))
    place = {name: value for name, value in sidecar.params("any").items() if name in ("api_key", "base_url")}
    begun = time.monotonic()
    end = sidecar.stream(sidecar.send("list_models", place, provider="anthropic"), 1200)[-1]
    assert (end.data["error"]["code"], end.data["error"]["reason"]) == ("timeout", "deadline")
    assert 600 <= end.at - begun <= 600.1
