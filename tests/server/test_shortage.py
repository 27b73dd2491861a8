"""Moments without memory: in the thread that reads stdin, in the cutting of lines, in a reply's parser."""

import os
from typing import Any, SupportsIndex

import anyio
import pytest

from sidecar.http.reply_parser import ReplyParser
from sidecar.server import memory_reserve, stdio
from sidecar.server.framing import LARGE_LINE_BYTES, LineDecoder, TooLong
from sidecar.server.memory_reserve import MemoryReserve
from tests.support.fake_provider import WAIT_SECONDS


class Uncopied(bytes):
    """Bytes of which there is no memory for a part that is longer than 9."""

    def __getitem__(self, part: Any) -> Any:
        if isinstance(part, slice) and part.indices(len(self))[1] - part.indices(len(self))[0] > 9:
            raise MemoryError
        return super().__getitem__(part)


def heads(found: list[bytes | TooLong]) -> list[bytes | tuple[bytes, bool]]:
    return [(each.head, each.no_memory) if isinstance(each, TooLong) else each for each in found]


@pytest.mark.parametrize("before", [b"", b'{"id":7,'])
def test_a_line_without_memory_for_it_is_refused_and_the_next_is_read(before: bytes) -> None:
    lines = LineDecoder()
    assert [*lines.feed(b"first\n" + before)] == [b"first"]
    assert heads([*lines.feed(Uncopied(b"much too long\nnext\n"))]) == [(before, True), b"next"]


def test_the_rest_of_a_line_without_memory_for_its_beginning_is_skipped() -> None:
    lines = LineDecoder()
    assert heads([*lines.feed(Uncopied(b"first\nmuch too long"))]) == [b"first", (b"", True)]
    assert [*lines.feed(Uncopied(b"and longer still\nnext\n"))] == [b"next"]


def test_a_long_line_is_let_go_of_and_a_short_one_is_not() -> None:
    lines = LineDecoder()
    assert [*lines.feed(b'{"id":7')] == []
    assert lines.give_up() is None
    assert [*lines.feed(b" " * LARGE_LINE_BYTES)] == []
    given_up = lines.give_up()
    assert given_up
    assert given_up.no_memory
    assert given_up.head.startswith(b'{"id":7')
    assert [*lines.feed(b"the rest\nnext\n")] == [b"next"]


async def test_what_there_was_no_memory_to_read_is_read_later(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"one")
    os.close(writer)
    read, shortages = os.read, list[str]()

    def read_some(fd: int, size: SupportsIndex) -> bytes:
        if fd == reader and len(shortages) < 2:
            raise MemoryError
        return read(fd, int(size))

    monkeypatch.setattr(os, "read", read_some)
    with anyio.fail_after(WAIT_SECONDS):
        pieces = [piece async for piece in stdio.Input(reader, lambda: shortages.append("short"))]
    os.close(reader)
    assert pieces == [None, None, b"one"]


class Short(ReplyParser):
    """A parser that gets no memory in its first line."""

    def on_status(self, reason: bytes) -> None:  # noqa: ARG002 - httptools' interface
        raise MemoryError


def test_a_reply_without_memory_for_it_is_not_called_malformed() -> None:
    with pytest.raises(MemoryError):
        Short().feed(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


def test_the_reserve_is_given_away_and_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    reserve = MemoryReserve()
    reserve.release()
    assert not reserve.is_held
    monkeypatch.setattr(memory_reserve, "RESERVE_BYTES", 2**60)
    reserve.refill()
    assert not reserve.is_held
    monkeypatch.undo()
    reserve.refill()
    assert reserve.is_held
