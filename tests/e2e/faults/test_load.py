"""Many requests, hosts that cancel while they wait, and systems that have run out of something."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, cycle, pairwise
from pathlib import Path

import pytest

from tests.e2e.faults.conftest import Spawn
from tests.support import process_probes
from tests.support.fake_provider import RESET, STALL, Gate, Pause, Provider, Repeat, Step
from tests.support.process import Id, Line, Sidecar, environment, in_time, text
from tests.support.reply_scripts import ANTHROPIC, OPENAI, document

pytestmark = pytest.mark.alone

ENDED_SECONDS = 0.05
CLOSED_SECONDS = 0.25


def cancel(sidecar: Sidecar, request_id: Id) -> float:
    """Cancel a request and return how many seconds its end took."""
    asked_at = time.monotonic()
    acknowledgement = sidecar.send("cancel", {"id": request_id})
    end = sidecar.stream(request_id)[-1]
    assert end.code == "cancelled"
    assert sidecar.reply(acknowledgement)["data"] == {"found": True}
    return end.at - asked_at


def holding(provider: Provider, sidecar: Sidecar, name: str = "holder") -> tuple[Id, Gate]:
    """Return a chat that is answered and not yet ended, and what ends it."""
    gate = provider.gate()
    ending = b"%x\r\n%s\r\n0\r\n\r\n" % (len(ANTHROPIC.closing), ANTHROPIC.closing)
    provider.play(name, [*ANTHROPIC.begun("x"), gate, ending])
    holder = sidecar.chat(name)
    sidecar.chunk(holder, 1)
    return holder, gate


def test_what_is_cancelled_in_the_queue_is_never_asked(spawn: Spawn, provider: Provider) -> None:  # G01
    with spawn(SIDECAR_CONCURRENCY="1") as sidecar:
        holder, gate = holding(provider, sidecar)
        in_time(lambda: cancel(sidecar, sidecar.chat("never")), ENDED_SECONDS)
        gate.open()
        assert sidecar.reply(holder)["success"]
        assert text(sidecar.stream(sidecar.chat(provider.play("next", ANTHROPIC.answer("next"))))) == "next"
    assert not provider.calls("never")


def test_what_is_cancelled_before_its_next_try_is_not_tried(sidecar: Sidecar, provider: Provider) -> None:  # G02
    provider.play("m", document({}, 503, retry_after="30"))

    def measure() -> float:
        request_id = sidecar.chat("m")
        while sidecar.chunk(request_id).data["data"]["state"] != "retrying":
            pass
        return cancel(sidecar, request_id)

    in_time(measure, ENDED_SECONDS)
    calls = len(provider.calls("m"))
    assert text(sidecar.stream(sidecar.chat(provider.play("next", ANTHROPIC.answer("next"))))) == "next"
    assert len(provider.calls("m")) == calls


def test_a_host_that_does_not_read_can_still_cancel(sidecar: Sidecar, provider: Provider) -> None:  # G06
    provider.play("m", ANTHROPIC.begun(Repeat(ANTHROPIC.text("x" * 1000), 100_000)))

    def measure() -> float:
        request_id = sidecar.chat("m")
        sidecar.chunk(request_id, 1)
        sidecar.pause()
        provider.stuck(0.2)
        call = provider.calls("m")[-1]
        asked_at = time.monotonic()
        acknowledgement = sidecar.send("cancel", {"id": request_id})
        seconds = provider.closed(call) - asked_at
        sidecar.resume()
        assert sidecar.stream(request_id)[-1].code == "cancelled"
        assert sidecar.reply(acknowledgement)["data"] == {"found": True}
        return seconds

    in_time(measure, CLOSED_SECONDS)


def test_a_full_queue_refuses_at_once_and_the_rest_keeps_its_order(spawn: Spawn, provider: Provider) -> None:  # H03
    with spawn(SIDECAR_CONCURRENCY="1", SIDECAR_QUEUE_LENGTH="3") as sidecar:
        holder, gate = holding(provider, sidecar)
        queued = [sidecar.chat(provider.play(f"queued-{number}", ANTHROPIC.answer("x"))) for number in range(3)]
        begun = time.monotonic()
        end = sidecar.stream(sidecar.chat("refused"))[-1]
        assert end.code == "queue_full"
        assert end.data["error"]["retry_after_ms"] > 0
        assert end.at - begun < 0.1
        gate.open()
        for request_id in (holder, *queued):
            assert sidecar.reply(request_id)["success"]
    at = [provider.call(f"queued-{number}").at for number in range(3)]
    assert all(earlier < later for earlier, later in pairwise(at))


def test_a_provider_that_stalls_holds_up_no_other(sidecar: Sidecar, provider: Provider) -> None:  # H04
    sidecar.max_growth_bytes *= 2
    gate = provider.gate()
    provider.play("stalled", [gate, *ANTHROPIC.answer("late")])
    provider.play("m", OPENAI.answer("soon"))
    stalled = [sidecar.chat("stalled") for _ in range(200)]
    provider.call("stalled", 199)

    def slowest() -> float:
        found = []
        for _ in range(30):
            begun = time.monotonic()
            found.append(sidecar.stream(sidecar.chat("m", OPENAI))[-1].at - begun)
        return sorted(found)[-2]

    in_time(slowest, 0.05)
    gate.open()
    for request_id in stalled:
        assert sidecar.reply(request_id)["success"]


def test_who_is_waited_for_goes_before_what_is_not(spawn: Spawn, provider: Provider) -> None:  # H06
    provider.play("batch", [Pause(0.002), *ANTHROPIC.answer("x")])
    provider.play("typed", ANTHROPIC.answer("x"))
    with spawn(SIDECAR_CONCURRENCY="1") as sidecar:
        holder, gate = holding(provider, sidecar)
        params = sidecar.params("batch")
        params["options"]["priority"] = "background"
        batch = [sidecar.send("stream_chat", params, provider="anthropic") for _ in range(100)]
        typed = [sidecar.chat("typed") for _ in range(20)]
        gate.open()
        for request_id in (holder, *batch, *typed):
            assert sidecar.reply(request_id)["success"]
    last = provider.call("typed", 19).at
    overtaken = sum(call.at < last for call in provider.calls("batch"))
    assert 2 <= overtaken <= 4


SMALL_PIPE_BYTES, USUAL_PIPE_BYTES = 4096, 65536


@contextmanager
def small_pipe(sidecar: Sidecar) -> Iterator[None]:
    """Have the system hold no more of stdout than a page: what is late then is late on account of the process."""
    import fcntl

    assert sidecar.process.stdout
    fd = sidecar.process.stdout.fileno()
    fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, SMALL_PIPE_BYTES)
    yield
    fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, USUAL_PIPE_BYTES)


@process_probes.linux_only
def test_small_streams_pass_a_huge_one(sidecar: Sidecar, provider: Provider) -> None:  # B10
    with small_pipe(sidecar):
        # The write under way is read first: 64 KiB, a second.
        in_time(lambda: pass_a_huge_one(sidecar, provider), 2)


def pass_a_huge_one(sidecar: Sidecar, provider: Provider) -> float:
    """Return how many seconds small streams take beside a huge one, for a host that reads 64 KB/s."""
    provider.play("huge", ANTHROPIC.begun(Repeat(ANTHROPIC.text("x" * 1000), 100_000)))
    huge = sidecar.chat("huge")
    sidecar.chunk(huge, 1)
    sidecar.resume(read_bytes=4096, pause_seconds=0.0625)
    provider.stuck(0.2)
    provider.play("small", ANTHROPIC.answer("small"))
    begun = time.monotonic()
    small = [sidecar.chat("small") for _ in range(20)]
    last = max(sidecar.chunk(request_id, 1).at for request_id in small)
    sidecar.resume()
    read = [line for line in list(sidecar.lines) if begun <= line.at <= last]
    sizes = {is_huge: sum(size(line) for line in read if (line.id == huge) is is_huge) for is_huge in (True, False)}
    assert sizes[True] > sizes[False]
    for request_id in small:
        assert text(sidecar.stream(request_id)) == "small"
    cancel(sidecar, huge)
    return last - begun


def size(line: Line) -> int:
    """Return about how many bytes a line has."""
    return len(json.dumps(line.data))


@process_probes.linux_only
def test_few_descriptors_are_no_end(tmp_path: Path, provider: Provider) -> None:  # C14
    provider.play("m", [Pause(0.3), *ANTHROPIC.answer("fine")])
    launcher = ["/bin/sh", "-c", 'ulimit -n 64; exec "$@"', "sh"]
    with Sidecar(tmp_path, provider, launcher=launcher) as sidecar:
        lines = [sidecar.stream(request_id) for request_id in [sidecar.chat("m") for _ in range(500)]]
        codes = [each[-1].code for each in lines]
        assert codes.count(None) >= 32
        assert set(codes) <= {None, "network_error", "queue_full"}
        assert text(sidecar.stream(sidecar.chat("m"))) == "fine"


@process_probes.linux_only
@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_one_after_the_other_leaves_nothing(spawn: Spawn, provider: Provider, count: int) -> None:  # C22
    provider.play("m", ANTHROPIC.answer("fine"))
    with spawn() as sidecar:
        for _ in range(200):
            sidecar.stream(sidecar.chat("m"))
        before = process_probes.rss_bytes(sidecar.process.pid)
        for _ in range(count):
            sidecar.stream(sidecar.chat("m"))
        grown = process_probes.rss_bytes(sidecar.process.pid) - before
    assert grown < 8 * 1024 * 1024
    assert provider.call("m", count).connection - provider.call("m").connection <= 4


ENDS = {
    "well": None,
    "limited": None,
    "down": "provider_overloaded",
    "reset": "stream_interrupted",
    "cut": "stream_interrupted",
    "bad": "provider_error",
    "silent": "timeout",
}
"""How a request for each reply ends: well, or with that code."""


@pytest.mark.slow
@process_probes.linux_only
def test_a_thousand_streams_at_once_and_a_fault_in_twenty(spawn: Spawn, provider: Provider) -> None:  # H01, H02
    pieces: list[Step | str] = [step for _ in range(20) for step in ("x" * 20, Pause(0.05))]
    ending = b"%x\r\n%s\r\n0\r\n\r\n" % (len(ANTHROPIC.closing), ANTHROPIC.closing)
    whole, half = [*ANTHROPIC.begun(*pieces), ending], ANTHROPIC.begun(*pieces[:20])
    provider.play("well", whole)
    provider.play("down", document({}, 503, retry_after_ms="1"))
    for name, end in (("reset", RESET), ("cut", b"0\r\n\r\n"), ("bad", b"b\r\ndata: {no\n\n\r\n"), ("silent", STALL)):
        provider.play(name, [*half, end])
    for number in range(9):
        provider.play_in_turn(f"limited-{number}", document({}, 429, retry_after_ms="200"), whole)
    faults, limited = cycle(list(ENDS)[1:]), count()
    names = [next(faults) if at % 20 == 0 else "well" for at in range(1000)]
    with spawn() as sidecar:
        sidecar.max_growth_bytes = 150 * 1024 * 1024
        asked = []
        for name in names:
            params = sidecar.params(f"limited-{next(limited)}" if name == "limited" else name)
            params["options"]["timeouts"] = {"idle_ms": 1000} if name == "silent" else None
            asked.append(sidecar.send("stream_chat", params, provider="anthropic"))
        for name, request_id in zip(names, asked, strict=True):
            lines = sidecar.stream(request_id, 60)
            assert lines[-1].code == ENDS[name], (name, lines[-1].data)
            assert text(lines) == "x" * (400 if ENDS[name] is None else 0 if name == "down" else 200), name


@pytest.mark.slow
@process_probes.linux_only
def test_long_streams_are_not_kept(spawn: Spawn, provider: Provider) -> None:  # H10, E30
    ending = b"%x\r\n%s\r\n0\r\n\r\n" % (len(ANTHROPIC.closing), ANTHROPIC.closing)
    provider.play("m", [*ANTHROPIC.begun(Repeat(ANTHROPIC.text("x" * 100), 100_000)), ending])
    with spawn() as sidecar:
        sidecar.max_growth_bytes = 150 * 1024 * 1024
        for lines in [sidecar.stream(each, 120) for each in [sidecar.chat("m") for _ in range(4)]]:
            assert len(text(lines)) == 10_000_000


@pytest.mark.parametrize("home", [{}, {"HOME": "/nowhere/at/all"}, {"HOME": ""}])
def test_without_a_home_a_key_in_the_request_will_do(
    tmp_path: Path, provider: Provider, home: dict[str, str]
) -> None:  # C12
    env = {name: value for name, value in environment(tmp_path).items() if name != "HOME" and "XDG" not in name} | home
    # Where no variable says where home is, the system does: the ledger there is that of whoever tests.
    env |= {"SIDECAR_LEDGER": "off"}
    with Sidecar(tmp_path, provider, env=env) as sidecar:
        assert text(sidecar.stream(sidecar.chat(provider.play("m", ANTHROPIC.answer("fine"))))) == "fine"
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
