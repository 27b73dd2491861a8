"""Lines that wait for the host: in order, in turn, and bounded."""

import itertools
from collections.abc import Callable
from typing import Any

import anyio
import msgspec
import pytest

from protocol.messages import ToolCall
from protocol.replies import Content, Failed, Reply, ToolCallChunk
from sidecar.core.errors import SidecarError
from sidecar.server import write_queue
from sidecar.server.write_queue import UNWRITABLE, Lane, Write, WriteQueue
from tests.support.fake_provider import WAIT_SECONDS
from tests.support.lines import Object


class Writer:
    """Writes batches when the test says so."""

    def __init__(self) -> None:
        self.batches: list[bytes] = []
        self.pending: list[Callable[[bool], None]] = []
        self.due: list[Callable[[], None]] = []
        self.blocks = False
        self.queue = WriteQueue(self.write, self.due.append)

    def write(self, batch: bytes, on_written: Callable[[bool], None]) -> bool | None:
        self.batches.append(batch)
        if not self.blocks:
            return True
        self.pending.append(on_written)
        return None

    def run(self) -> None:
        """Run what is due in the loop's next turn."""
        while self.due:
            self.due.pop()()

    def finish_write(self, *, ok: bool = True) -> None:
        """End the write that is running."""
        self.pending.pop()(ok)

    @property
    def lines(self) -> list[Object]:
        return [msgspec.json.decode(line) for batch in self.batches for line in batch.splitlines()]


@pytest.fixture
async def writer() -> Writer:
    return Writer()


def send(lane: Lane, *texts: str) -> None:
    lane.send([Content(text) for text in texts])


async def test_chunks_are_numbered_and_the_terminal_line_is_the_last(writer: Writer) -> None:
    lane = writer.queue.open_lane("a")
    send(lane, "1", "2")
    send(lane, "3")
    lane.close(Reply("a", True, {}))
    send(lane, "4")
    lane.close(Reply("a", True, {}))
    writer.run()
    assert [line.get("seq") for line in writer.lines] == [0, 1, 2, None]


async def test_what_one_turn_of_the_loop_queues_is_one_write(writer: Writer) -> None:
    for number in range(10):
        send(writer.queue.open_lane(number), "x")
    assert len(writer.due) == 1
    writer.run()
    assert (len(writer.batches), len(writer.lines)) == (1, 10)


async def test_a_line_that_comes_alone_is_written_at_once_and_many_are_one_write(writer: Writer) -> None:
    now = 1.0
    writer.queue = WriteQueue(writer.write, writer.due.append, lambda: now)
    lanes = [writer.queue.open_lane(number) for number in range(5)]
    send(lanes[0], "alone")
    assert (len(writer.lines), writer.due) == (1, [])
    for lane in lanes:
        send(lane, "x")
    assert (len(writer.lines), len(writer.due)) == (1, 1)
    writer.run()
    assert (len(writer.batches), len(writer.lines)) == (2, 6)
    now += 2 * write_queue.QUIET_SECONDS
    lanes[0].close(Reply(0, True, {}))
    assert (len(writer.batches), len(writer.lines), writer.due) == (3, 7, [])
    await writer.queue.flush()


async def test_lanes_that_one_turn_fills_are_written_before_it_ends_if_they_are_many(writer: Writer) -> None:
    lanes = [writer.queue.open_lane(number) for number in range(2 * write_queue.SLICE_LANES + 5)]
    for lane in lanes:
        send(lane, "x")
    assert [batch.count(b"\n") for batch in writer.batches] == [write_queue.SLICE_LANES] * 2
    writer.run()
    assert [line["id"] for line in writer.lines] == list(range(len(lanes)))
    assert len(writer.batches) == 3
    with anyio.fail_after(WAIT_SECONDS):
        await writer.queue.flush()


async def test_no_lane_is_written_early_while_a_write_is_running(writer: Writer) -> None:
    writer.blocks = True
    lanes = [writer.queue.open_lane(number) for number in range(4 * write_queue.SLICE_LANES)]
    for lane in lanes:
        send(lane, "x")
    writer.run()
    assert [batch.count(b"\n") for batch in writer.batches] == [write_queue.SLICE_LANES]
    writer.finish_write()
    writer.run()
    assert [line["id"] for line in writer.lines] == list(range(len(lanes)))


def make_quiet_queue(write: Write, due: list[Callable[[], None]]) -> WriteQueue:
    """Return a queue with a clock by which every line comes alone."""
    seconds = itertools.count()
    return WriteQueue(write, due.append, lambda: next(seconds))


async def test_lines_that_each_come_alone_are_never_queued(writer: Writer) -> None:
    writer.queue = make_quiet_queue(writer.write, writer.due)
    lane = writer.queue.open_lane(1)
    for number in range(3):
        send(lane, "x")
        assert (lane.sent_seq, lane.empty, lane.queued_bytes, writer.queue.queued_bytes) == (number, True, 0, 0)
    lane.close(Reply(1, True, {}))
    assert ([line.get("seq") for line in writer.lines], len(writer.batches)) == ([0, 1, 2, None], 4)
    with anyio.fail_after(WAIT_SECONDS):
        await writer.queue.flush()


async def test_nothing_is_written_after_a_line_that_came_alone_and_is_lost(writer: Writer) -> None:
    batches: list[bytes] = []

    def write(batch: bytes, on_written: Callable[[bool], None]) -> bool | None:  # noqa: ARG001 - a writer's shape
        batches.append(batch)
        return False

    writer.queue = make_quiet_queue(write, writer.due)
    lane = writer.queue.open_lane(1)
    send(lane, "lost")
    send(lane, "later")
    lane.close(Reply(1, True, {}))
    writer.run()
    assert writer.queue.reader_gone.is_set()
    assert len(batches) == 1
    with anyio.fail_after(WAIT_SECONDS):
        await writer.queue.flush()


async def test_a_chunk_that_comes_alone_and_cannot_be_written_leaves_no_half_line(writer: Writer) -> None:
    writer.queue = make_quiet_queue(writer.write, writer.due)
    lane = writer.queue.open_lane(1)
    with pytest.raises(UNWRITABLE):
        lane.send([Content("1"), ToolCallChunk(ToolCall(id="a", name="b", arguments=STRANGE, arguments_text=""))])
    assert (lane.empty, lane.next_seq, lane.sent_seq, writer.batches) == (True, 0, None, [])
    send(lane, "2")
    assert [line["seq"] for line in writer.lines] == [0]


async def test_a_write_that_does_not_end_holds_back_what_comes_alone(writer: Writer) -> None:
    writer.blocks, now = True, 1.0
    writer.queue = WriteQueue(writer.write, writer.due.append, lambda: now)
    lane = writer.queue.open_lane(1)
    send(lane, "first")
    now += 1
    send(lane, "second")
    assert (len(writer.lines), writer.due) == (1, [])
    writer.finish_write()
    assert [line["seq"] for line in writer.lines] == [0, 1]


async def test_a_short_answer_waits_for_no_stream_and_answers_keep_their_order(writer: Writer) -> None:
    streams = [writer.queue.open_lane(number) for number in range(3)]
    for lane in streams:
        send(lane, "x" * write_queue.SEGMENT_BYTES, "y")
    long_answer = writer.queue.open_lane("long")
    long_answer.close(Reply("long", True, {"text": "x" * write_queue.SEGMENT_BYTES}))
    for name in ("a", "b"):
        writer.queue.open_lane(name).close(Reply(name, True, {}))
    streams[0].close(Reply(0, True, {}))
    streams[1].drop()
    streams[1].close(Reply(1, True, {}))
    writer.run()
    assert [line["id"] for line in writer.lines] == ["a", "b", 1, 0, 0, 2, 2, "long", 0]


async def test_lanes_are_served_in_turn(writer: Writer) -> None:
    first, second = writer.queue.open_lane(1), writer.queue.open_lane(2)
    for _ in range(3):
        send(first, "x" * write_queue.SEGMENT_BYTES)
    send(second, "y")
    writer.run()
    assert [line["id"] for line in writer.lines] == [1, 2, 1, 1]


async def test_a_cancelled_lane_drops_what_was_not_written_and_keeps_its_terminal_line(writer: Writer) -> None:
    writer.blocks = True
    lane = writer.queue.open_lane(1)
    send(lane, "written")
    writer.run()
    send(lane, "dropped")
    lane.drop()
    send(lane, "dropped too")
    assert lane.delivered_seq == 0
    lane.close(Failed(1, False, SidecarError("cancelled", "It was cancelled.").body))
    writer.blocks = False
    writer.finish_write()
    assert [line["success"] for line in writer.lines] == [True, False]


async def test_last_chunks_take_the_numbers_of_those_that_were_dropped(writer: Writer) -> None:
    writer.blocks = True
    lane = writer.queue.open_lane(1)
    send(lane, "written")
    writer.run()
    send(lane, "dropped")
    lane.send_last([Content("ignored as long as nothing is dropped")])
    lane.drop()
    lane.send_last([Content("last")])
    send(lane, "dropped too")
    assert lane.delivered_seq == 1
    lane.close(Failed(1, False, SidecarError("cancelled", "It was cancelled.").body))
    writer.blocks = False
    writer.finish_write()
    assert [line.get("seq") for line in writer.lines] == [0, 1, None]
    assert writer.lines[1]["data"]["content"] == "last"


async def test_a_full_lane_makes_its_producer_wait_and_nobody_else(writer: Writer) -> None:
    writer.blocks = True
    lane, other = writer.queue.open_lane(1), writer.queue.open_lane(2)
    send(lane, "x")
    writer.run()
    while not lane.full:
        send(lane, "x" * write_queue.SEGMENT_BYTES)
    assert lane.queued_bytes <= write_queue.LANE_BYTES + 2 * write_queue.SEGMENT_BYTES
    assert not other.full
    with anyio.fail_after(WAIT_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lane.wait_for_room)
            await anyio.lowlevel.checkpoint()
            writer.blocks = False
            writer.finish_write()
    assert lane.queued_bytes == 0


async def test_many_lanes_share_what_all_may_hold(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_queue, "TOTAL_BYTES", 10 * write_queue.MIN_LANE_BYTES)
    writer.blocks = True
    for number in range(100):
        send(writer.queue.open_lane(number), "x")
    lane = writer.queue.open_lane("last")
    send(lane, "x" * write_queue.MIN_LANE_BYTES)
    assert lane.full
    send(small := writer.queue.open_lane("small"), "x")
    assert not small.full


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_write_that_fails_says_that_the_reader_is_gone(writer: Writer, at_once: bool) -> None:
    if at_once:
        writer.queue = WriteQueue(lambda *_: False, writer.due.append)
    writer.blocks = True
    send(writer.queue.open_lane(1), "x")
    writer.run()
    if not at_once:
        assert not writer.queue.reader_gone.is_set()
        writer.finish_write(ok=False)
    assert writer.queue.reader_gone.is_set()
    with anyio.fail_after(WAIT_SECONDS):
        await writer.queue.flush()


async def test_a_host_that_only_writes_is_taken_for_dead(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_queue, "MAX_LANES", 5)
    writer.blocks = True
    for number in range(6):
        writer.queue.open_lane(number).close(Reply(number, True, {}))
    assert writer.queue.reader_gone.is_set()


async def test_characters_that_some_hosts_end_a_line_at_are_escaped(writer: Writer) -> None:
    lane = writer.queue.open_lane(1)
    send(lane, "plain", "a\u2028b\x7fc", "plain")
    writer.run()
    assert b"a\\u2028b\\u007fc" in writer.batches[0]
    assert [line["data"]["content"] for line in writer.lines] == ["plain", "a\u2028b\x7fc", "plain"]


STRANGE: Any = ["text", object()]
"""Nothing that JSON can hold. How deep a list may be depends on the Python."""


async def test_a_lane_stays_open_for_another_line_where_its_terminal_line_cannot_be_written(writer: Writer) -> None:
    lane = writer.queue.open_lane(1)
    send(lane, "1")
    with pytest.raises(UNWRITABLE):
        lane.close(Reply(1, True, STRANGE))
    assert not lane.closed
    lane.close(Failed(1, False, SidecarError("internal_error", "It failed.").body))
    writer.run()
    assert [line["success"] for line in writer.lines] == [True, False]


async def test_chunks_that_cannot_be_written_leave_no_half_line(writer: Writer) -> None:
    lane = writer.queue.open_lane(1)
    with pytest.raises(UNWRITABLE):
        lane.send([Content("1"), ToolCallChunk(ToolCall(id="a", name="b", arguments=STRANGE, arguments_text=""))])
    assert (lane.empty, lane.next_seq, lane.queued_bytes) == (True, 0, 0)
    send(lane, "2")
    lane.close(Reply(1, True, None))
    writer.run()
    assert [line.get("seq") for line in writer.lines] == [0, None]


async def test_a_closed_lane_keeps_its_lines_when_it_is_dropped(writer: Writer) -> None:
    lane = writer.queue.open_lane(1)
    lane.close(Reply(1, True, None))
    lane.drop()
    writer.run()
    assert [line["id"] for line in writer.lines] == [1]


async def test_a_writer_that_fails_ends_the_process_and_does_not_stall_it(writer: Writer) -> None:
    def write(batch: bytes, on_written: Callable[[bool], None]) -> bool | None:  # noqa: ARG001 - a writer's shape
        raise MemoryError

    queue = WriteQueue(write, writer.due.append)
    queue.open_lane(1).close(Reply(1, True, None))
    writer.run()
    assert queue.reader_gone.is_set()
    with anyio.fail_after(WAIT_SECONDS):
        await queue.flush()
