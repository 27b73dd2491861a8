"""`status` chunks for silent streams: one timer for all, and no more chunks for a host that does not read."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from protocol.errors import Phase
from protocol.replies import Content
from protocol.requests import Envelope, Initialize
from sidecar.config.values import Config
from sidecar.core.request_state import Progress
from sidecar.server import heartbeat
from sidecar.server.actions import ACTIONS, TaskAction
from sidecar.server.app import App
from sidecar.server.open_requests import OpenRequest
from sidecar.server.write_queue import WriteQueue

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from sidecar.core.http import Transport

BEAT_MS = 15_000
CHECK_SECONDS = 3.0


class World:
    """An app with open requests. Its clock and its timers move when the test says so."""

    def __init__(self, *events: str, reads: bool = True) -> None:
        self.now = 1000.0
        self.timers: list[tuple[float, Callable[..., object]]] = []
        self.written: list[bytes] = []
        self._reads = reads
        self._due: list[Callable[[], None]] = []
        self._queue = WriteQueue(self._write, self._due.append)
        self.app = App(Config(path=""), self._queue, cast("TaskGroup", None), cast("Transport", None))
        self.app.begin_session(msgspec.convert({"events": list(events)}, Initialize))

    def monotonic(self) -> float:
        return self.now

    def call_later(self, seconds: float, function: Callable[..., object], *arguments: object) -> None:
        self.timers.append((seconds, lambda: function(*arguments)))

    def _write(self, batch: bytes, written: Callable[[bool], None]) -> bool | None:  # noqa: ARG002 - a writer's shape
        self.written.append(batch)
        # A host that does not read leaves the write under way for ever.
        return True if self._reads else None

    def open(self, request_id: int, phase: Phase | None = None, *, streams: bool = True) -> OpenRequest:
        """Open a request that waits in *phase*."""
        entry = OpenRequest(Envelope(id=request_id, action="any"), self._queue.open_lane(request_id), streams=streams)
        entry.silent_since = entry.status_at = self.now
        entry.state.progress.phase = phase
        self.app.requests.register(entry)
        heartbeat.start(self.app)
        return entry

    def pass_time(self, checks: int = 1) -> list[dict[str, Any]]:
        """Let the timer run out so many times and return the chunks that were written."""
        before = len(self.written)
        for _ in range(checks):
            assert len(self.timers) <= 1
            for seconds, run in [self.timers.pop() for _ in self.timers]:
                self.now += seconds
                run()
            for run_due in [self._due.pop() for _ in self._due]:
                run_due()
        return [msgspec.json.decode(line)["data"] for batch in self.written[before:] for line in batch.splitlines()]


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a world whose host asked for `status`."""
    return control_time(monkeypatch, World("status"))


def control_time(monkeypatch: pytest.MonkeyPatch, world: World) -> World:
    """Let *world* be the clock and the timers of `heartbeat`, and return it."""
    monkeypatch.setattr(heartbeat, "time", world)
    monkeypatch.setattr(heartbeat, "event_loop", world)
    return world


async def test_one_timer_serves_all_streams_and_ends_with_the_last_of_them(world: World) -> None:
    heartbeat.start(world.app)
    assert not world.timers
    entries = [world.open(number) for number in range(100)]
    assert [seconds for seconds, _ in world.timers] == [CHECK_SECONDS]
    world.pass_time()
    assert len(world.timers) == 1
    for entry in entries:
        world.app.requests.release(entry)
    assert not world.pass_time(2)
    assert not world.timers
    world.open(1)
    assert len(world.timers) == 1


async def test_no_timer_runs_without_streams_or_for_a_host_that_wants_no_status(
    monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    world.open(1, streams=False)
    assert not world.timers
    other = control_time(monkeypatch, World("warnings"))
    other.open(1)
    assert not other.timers


async def test_a_silent_stream_gets_a_status_after_each_interval(world: World) -> None:
    world.open(1, "headers")
    world.open(2, streams=False)
    assert world.pass_time(4) == []
    status = {"type": "status", "state": "waiting", "phase": "headers"}
    assert world.pass_time() == [status | {"silent_ms": BEAT_MS}]
    assert world.pass_time(4) == []
    assert world.pass_time() == [status | {"silent_ms": 2 * BEAT_MS}]


async def test_a_chunk_starts_the_interval_again(world: World) -> None:
    entry = world.open(1, "idle")
    world.pass_time(4)
    entry.lane.send([Content("x")])
    assert [chunk["type"] for chunk in world.pass_time(5)] == ["content"]
    assert [chunk["silent_ms"] for chunk in world.pass_time()] == [BEAT_MS]


async def test_a_host_that_does_not_read_gets_no_more_status(monkeypatch: pytest.MonkeyPatch) -> None:
    world = control_time(monkeypatch, World("status", reads=False))
    entry = world.open(1, "headers")
    world.pass_time(1000)
    # One with the writer, and one that waits for it.
    assert (len(world.written), entry.lane.next_seq) == (1, 2)


async def test_no_status_follows_the_terminal_line_or_a_cancellation(world: World) -> None:
    ended, cancelled = world.open(1, "idle"), world.open(2, "idle")
    ended.lane.closed = True
    assert world.app.requests.cancel(2)
    assert world.pass_time(10) == []
    assert ended.lane.next_seq == cancelled.lane.next_seq == 0


async def test_a_host_that_wants_no_more_status_gets_none(world: World) -> None:
    world.open(1, "idle")
    world.pass_time(4)
    world.app.begin_session(Initialize())
    assert world.pass_time(5) == []
    assert not world.timers


@pytest.mark.parametrize(
    ("phase", "retry_at", "expected"),
    [
        (None, 0.0, {"state": "waiting"}),
        ("queue", 0.0, {"state": "queued", "phase": "queue"}),
        ("queue", 99.0, {"state": "queued", "phase": "queue"}),
        ("queue", 102.5, {"state": "retrying", "phase": "queue", "wait_ms": 2500}),
        # The try has begun meanwhile.
        ("connect", 102.5, {"state": "connecting", "phase": "connect"}),
        ("headers", 0.0, {"state": "waiting", "phase": "headers"}),
        ("idle", 0.0, {"state": "waiting", "phase": "idle"}),
    ],
)
def test_a_status_says_what_the_phase_is_waiting_for(
    phase: Phase | None, retry_at: float, expected: dict[str, Any]
) -> None:
    progress = Progress()
    progress.phase, progress.retry_at = phase, retry_at
    status = msgspec.to_builtins(heartbeat.make_status(progress, 15_000, 100.0))
    assert status == {"type": "status", "silent_ms": 15_000} | expected


def test_only_streams_get_a_status() -> None:
    streaming = {name for name, action in ACTIONS.items() if isinstance(action, TaskAction) and action.streams}
    assert streaming == {"stream_chat", "resume", "compare", "stream_complete", "embed"}
