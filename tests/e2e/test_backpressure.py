"""A host that reads slowly, not at all or no longer: nothing is lost, nothing grows, nothing hangs."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecar.upstream.gates.breaker import MAX_FAILURES
from tests.support import process_probes
from tests.support.fake_provider import STALL, Provider, Repeat
from tests.support.process import Sidecar, text
from tests.support.reply_scripts import ANTHROPIC, stream
from tests.support.stalling_providers import lively

pytestmark = pytest.mark.alone

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE

STREAMS = 50
PIECE_BYTES = 8 * KIBIBYTE
HELD_BYTES = 64 * MEBIBYTE
"""What all streams may take together while the host does not read."""

LANE_BYTES = 256 * KIBIBYTE

SYSTEM_BYTES = 4 * MEBIBYTE
"""What the system's own buffers may hold of one connection."""

CLOSED_SECONDS = 0.25


def pieces_of(size_bytes: int) -> list[str]:
    """Return a text of that size in numbered pieces."""
    return [f"{number:08}" * (PIECE_BYTES // 8) for number in range(size_bytes // PIECE_BYTES)]


@process_probes.linux_only
@pytest.mark.parametrize("seconds", [1.0, pytest.param(60.0, marks=pytest.mark.slow)])
def test_a_host_that_stops_reading_stops_the_providers(
    warm: Sidecar, provider: Provider, seconds: float
) -> None:  # B01, G06
    provider.play("m", ANTHROPIC.answer(*pieces_of(10 * MEBIBYTE)))
    process_probes.forget_peak(warm.process.pid)
    before = process_probes.rss_bytes(warm.process.pid)

    warm.pause()
    ids = [warm.chat("m") for _ in range(STREAMS)]
    provider.call("m", STREAMS - 1)
    provider.stuck(seconds)
    assert process_probes.peak_rss_bytes(warm.process.pid) - before <= HELD_BYTES
    for call in provider.calls("m"):
        assert not call.played
        assert call.sent_bytes <= LANE_BYTES + SYSTEM_BYTES

    # The requests of a host that does not read are still obeyed.
    asked_at = time.monotonic()
    warm.send("cancel", {"id": ids[0]})
    provider.hung_up("m", 1)
    assert time.monotonic() - asked_at <= CLOSED_SECONDS
    for request_id in ids[1:]:
        warm.send("cancel", {"id": request_id})
    provider.hung_up("m", STREAMS)
    warm.resume()
    for request_id in ids:
        assert warm.reply(request_id)["error"]["code"] == "cancelled"


@pytest.mark.parametrize(
    ("streams", "size_bytes", "seconds"),
    [(10, 3 * MEBIBYTE, 1.0), pytest.param(STREAMS, 10 * MEBIBYTE, 60.0, marks=pytest.mark.slow)],
    ids=["short", "full"],
)
def test_a_host_that_reads_on_has_missed_nothing(
    sidecar: Sidecar, provider: Provider, streams: int, size_bytes: int, seconds: float
) -> None:  # B01
    # What a finished chat holds is its own whole text, for `done.message`.
    sidecar.max_growth_bytes += 4 * streams * size_bytes
    pieces = pieces_of(size_bytes)
    provider.play("m", ANTHROPIC.answer(*pieces))
    sidecar.pause()
    ids = [sidecar.chat("m") for _ in range(streams)]
    provider.call("m", streams - 1)
    provider.stuck(seconds)
    assert not any(call.played for call in provider.calls("m"))
    sidecar.resume()
    for request_id in ids:
        lines = sidecar.stream(request_id, 100)
        assert lines[-1].code is None
        assert text(lines) == "".join(pieces)


def test_a_provider_that_gives_up_on_a_slow_host_is_not_blamed(sidecar: Sidecar, provider: Provider) -> None:  # B02
    event = ANTHROPIC.text("x" * PIECE_BYTES)
    provider.play("m", stream([ANTHROPIC.opening, Repeat(event, 1000), ANTHROPIC.closing]))
    sidecar.pause()
    request_id = sidecar.chat("m")
    call = provider.call("m")
    provider.stuck(0.3)
    provider.reset(call)
    sidecar.resume()
    lines = sidecar.stream(request_id)
    error = lines[-1].data["error"]
    assert (error["code"], error["reason"]) == ("stream_interrupted", "host_backpressure")
    assert error["partial"] is True
    assert error["partial_seq"] == lines[-2].data["seq"]


def test_a_host_that_reads_slowly_opens_no_breaker(sidecar: Sidecar, provider: Provider) -> None:  # B02
    event = ANTHROPIC.text("x" * PIECE_BYTES)
    provider.play("m", stream([ANTHROPIC.opening, Repeat(event, 1000), ANTHROPIC.closing]))
    sidecar.pause()
    ids = [sidecar.chat("m") for _ in range(MAX_FAILURES)]
    provider.call("m", MAX_FAILURES - 1)
    provider.stuck(0.3)
    for call in provider.calls("m"):
        provider.reset(call)
    sidecar.resume()
    assert {sidecar.reply(each)["error"]["reason"] for each in ids} == {"host_backpressure"}
    assert not [each for each in sidecar.ask("list_providers")["data"]["providers"] if "gates" in each]


@process_probes.posix_only
def test_a_host_that_never_reads_does_not_hold_up_the_end(sidecar: Sidecar, provider: Provider) -> None:  # B03
    provider.play("m", stream([ANTHROPIC.opening, Repeat(ANTHROPIC.text("x" * PIECE_BYTES), 1000)]))
    sidecar.expects_answers, sidecar.may_tear = False, True
    sidecar.pause()
    for _ in range(STREAMS):
        sidecar.chat("m")
    provider.call("m", STREAMS - 1)
    provider.stuck(0.3)
    start = time.monotonic()
    sidecar.process.send_signal(signal.SIGTERM)
    assert sidecar.exit() - start <= 2


@contextmanager
def hearing(home: Path, provider: Provider) -> Iterator[tuple[Sidecar, int]]:
    """Yield a process and the descriptor that its stdout is read from."""
    ours, theirs = os.pipe()
    with Sidecar(home, provider, stdout=theirs, ready=False) as sidecar:
        os.close(theirs)
        sidecar.expects_answers = False
        yield sidecar, ours


@process_probes.posix_only
def test_when_nobody_reads_any_more_every_stream_is_stopped(tmp_path: Path, provider: Provider) -> None:  # B04
    provider.play("m", lively(pause_seconds=0.005))
    provider.play("silent", ANTHROPIC.begun("x", STALL))
    with hearing(tmp_path, provider) as (sidecar, stdout):
        for model in ("m", "silent") * 10:
            sidecar.chat(model)
        provider.call("silent", 9)
        provider.sent(provider.call("m", 9), 5)
        os.read(stdout, 65536)
        closed_at = time.monotonic()
        os.close(stdout)
        provider.hung_up("m", 10)
        provider.hung_up("silent", 10)
        ends = [call.closed_at or 0 for model in ("m", "silent") for call in provider.calls(model)]
        assert max(ends) - closed_at <= 0.1
        assert sidecar.exit() - closed_at <= 1
    assert len(provider.calls("m") + provider.calls("silent")) == 20


@process_probes.posix_only
def test_a_silent_process_notices_that_nobody_reads_any_more(tmp_path: Path, provider: Provider) -> None:  # B04
    provider.play("silent", ANTHROPIC.begun("x", STALL))
    with hearing(tmp_path, provider) as (sidecar, stdout):
        sidecar.chat("silent")
        heard = b""
        while heard.count(b"\n") < 2:
            heard += os.read(stdout, 65536)
        closed_at = time.monotonic()
        os.close(stdout)
        assert sidecar.exit() - closed_at <= 1
    assert provider.call("silent").closed_at


def test_a_slow_reader_gets_everything_and_can_still_cancel(sidecar: Sidecar, provider: Provider) -> None:  # B11
    event = ANTHROPIC.text("x" * PIECE_BYTES)
    provider.play("m", stream([ANTHROPIC.opening, Repeat(event, 1000), ANTHROPIC.closing]))
    sidecar.resume(read_bytes=1, pause_seconds=0.01)
    request_id = sidecar.chat("m")
    call = provider.call("m")
    provider.stuck(0.3)
    start = time.monotonic()
    sidecar.send("cancel", {"id": request_id})
    assert provider.closed(call) - start <= 0.1

    sidecar.resume()
    lines = sidecar.stream(request_id)
    error = lines[-1].data["error"]
    assert error["code"] == "cancelled"
    assert error["partial_seq"] == lines[-2].data["seq"]
    # What was queued is dropped: no more comes than was on its way in the pipe and in the write to it.
    assert len(text(lines)) <= 4 * 64 * KIBIBYTE
