"""A stored answer on its way to the host."""

from collections.abc import Sequence

import anyio
import pytest

from protocol.messages import Citation, Message, ToolCall
from protocol.replies import Chunk, CitationChunk, Content, Done, Reasoning, Start, Status, ToolCallChunk
from sidecar.core.request_state import RequestState
from sidecar.reuse.answers import decode, encode, make_answer
from sidecar.reuse.replay import CHUNKS_AT_ONCE, describe, replay
from tests.reuse.test_rules import done
from tests.support.fake_provider import WAIT_SECONDS

ALL: list[Chunk] = [
    Reasoning("hm"),
    *(Content(f"{number} \u2028") for number in range(5 * CHUNKS_AT_ONCE)),
    CitationChunk(Citation(url="https://a.example", start=1)),
    ToolCallChunk(ToolCall(id="1", name="f", arguments=None, arguments_text="{")),
]


class SlowHost:
    """Is full whenever it has got something, until somebody waits."""

    def __init__(self) -> None:
        self.batches: list[list[Chunk]] = []
        self.full = False
        self.waits = 0

    def send(self, chunks: Sequence[Chunk]) -> None:
        assert not self.full
        self.batches.append([*chunks])
        self.full = True

    def send_status(self, status: Status) -> None:
        raise AssertionError(status)

    async def wait_for_room(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.waits += 1
        self.full = False

    def finish(self, done: Done) -> None:
        raise AssertionError(done)


async def test_a_host_that_reads_slowly_is_waited_for() -> None:
    answer = make_answer(ALL, done(message=Message(role="assistant", content="x")))
    state, host, start = RequestState("stream_chat"), SlowHost(), Start(provider="p", model="m")
    with anyio.fail_after(WAIT_SECONDS):
        end = await replay(state, answer, start, host)
    assert [chunk for batch in host.batches for chunk in batch] == [start, *ALL]
    assert max(map(len, host.batches)) == CHUNKS_AT_ONCE
    assert host.waits == len(host.batches) - 1
    assert (end.message, end.finish_reason) == (answer.message, "stop")
    assert state.progress.delivered


def test_an_answer_is_read_as_it_was_written() -> None:
    answer = make_answer(ALL, done())
    data = encode(answer)
    assert data is not None
    assert decode(data) == answer


@pytest.mark.parametrize("data", [b"", b"\xc1", b"no answer", b"\x93\x01\x02\x03"])
def test_what_is_no_answer_is_none(data: bytes) -> None:
    assert decode(data) is None


@pytest.mark.parametrize(("age", "seconds"), [(0.0, 0), (0.99, 0), (61.5, 61)])
def test_an_age_is_told_in_whole_seconds(age: float, seconds: int) -> None:
    assert describe(make_answer([], done()), age).age_s == seconds
