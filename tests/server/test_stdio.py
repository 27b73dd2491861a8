"""Descriptors and their threads, on pipes of the test's own."""

import os
import threading
from collections.abc import Iterator

import anyio
import anyio.to_thread
import pytest

from sidecar.core import platforms
from sidecar.server import stdio
from tests.support import process_probes
from tests.support.fake_provider import WAIT_SECONDS


class Pipe:
    """A pipe whose ends are closed with the test."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self._open = {self.reader, self.writer}

    def close(self, *fds: int) -> None:
        for fd in set(fds) & self._open:
            self._open.discard(fd)
            os.close(fd)

    def close_all(self) -> None:
        self.close(*self._open)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close_all()


async def test_input_is_read_piece_by_piece_until_its_end(pipe: Pipe) -> None:
    pieces = []
    with anyio.fail_after(WAIT_SECONDS):
        os.write(pipe.writer, b"one")
        async for piece in stdio.Input(pipe.reader):
            pieces.append(piece)
            if len(pieces) == 1:
                os.write(pipe.writer, b"two")
            else:
                pipe.close(pipe.writer)
    assert pieces == [b"one", b"two"]


async def test_nothing_is_read_before_the_last_piece_is_processed(pipe: Pipe) -> None:
    with anyio.fail_after(WAIT_SECONDS):
        os.write(pipe.writer, b"one")
        read = aiter(stdio.Input(pipe.reader))
        assert await anext(read) == b"one"
        os.write(pipe.writer, b"two")
        os.set_blocking(pipe.reader, False)
        # The pipe still has it: the thread waits for us.
        assert os.read(pipe.reader, 100) == b"two"
        os.set_blocking(pipe.reader, True)
        pipe.close(pipe.writer)
        assert [piece async for piece in read] == []


async def test_a_short_batch_is_written_at_once_and_a_long_one_by_the_thread(pipe: Pipe) -> None:
    output, results, ended = stdio.Output(pipe.writer), list[bool](), anyio.Event()
    batch = b"x" * 1024 * 1024

    def note(ok: bool) -> None:
        results.append(ok)
        ended.set()

    assert output.write(b"short", note) is True
    assert output.write(batch, note) is None
    with anyio.fail_after(WAIT_SECONDS):
        read = await anyio.to_thread.run_sync(read_bytes, pipe.reader, len(b"short") + len(batch))
        await ended.wait()
    assert read == b"short" + batch
    assert results == [True]
    output.wait_until_written(WAIT_SECONDS)


def read_bytes(fd: int, size_bytes: int) -> bytes:
    data = b""
    while len(data) < size_bytes:
        data += os.read(fd, size_bytes - len(data))
    return data


@process_probes.posix_only
async def test_what_a_pipe_has_room_for_is_written_at_once_and_by_whole_lines(pipe: Pipe) -> None:
    output, results, ended = stdio.Output(pipe.writer), list[bool](), anyio.Event()

    def note(ok: bool) -> None:
        results.append(ok)
        ended.set()

    lines = b"".join(b"%d" % number * 100 + b"\n" for number in range(10)) * 20
    assert output.write(lines, note) is True
    assert read_bytes(pipe.reader, len(lines)) == lines
    # More than a pipe holds, and at its end a line that is longer than what it promises to take.
    assert output.write(lines * 10 + b"x" * 10_000 + b"\n", note) is None
    at_once = os.read(pipe.reader, 1024 * 1024)
    assert at_once.endswith(b"\n")
    with anyio.fail_after(WAIT_SECONDS):
        rest = await anyio.to_thread.run_sync(read_bytes, pipe.reader, len(lines) * 10 + 10_001 - len(at_once))
        await ended.wait()
    assert at_once + rest == lines * 10 + b"x" * 10_000 + b"\n"
    assert results == [True]


NO_FLAG, UNKNOWN_FLAG = 0, 1 << 30


@process_probes.posix_only
@pytest.mark.parametrize("flag", [NO_FLAG, UNKNOWN_FLAG])
async def test_a_system_that_can_only_say_whether_there_is_room_is_asked(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, flag: int
) -> None:
    monkeypatch.setattr(platforms, "get_nowait_flag", lambda _: flag)
    output, results, ended = stdio.Output(pipe.writer), list[bool](), anyio.Event()

    def note(ok: bool) -> None:
        results.append(ok)
        ended.set()

    assert output.write(b"short\n", note) is True
    lines = b"x" * 999 + b"\n"
    assert output.write(lines * 100, note) is None
    with anyio.fail_after(WAIT_SECONDS):
        read = await anyio.to_thread.run_sync(read_bytes, pipe.reader, 100_006)
        await ended.wait()
    assert read == b"short\n" + lines * 100
    assert results == [True]
    pipe.close(pipe.reader)
    assert output.write(b"short\n", note) is False


async def test_a_write_to_a_host_that_is_gone_fails(pipe: Pipe) -> None:
    output, results, ended = stdio.Output(pipe.writer), list[bool](), anyio.Event()

    def note(ok: bool) -> None:
        results.append(ok)
        ended.set()

    before = output.reader_gone
    pipe.close(pipe.reader)
    assert (before, output.reader_gone) == (False, True)
    with anyio.fail_after(WAIT_SECONDS):
        if output.write(b"x" * 1024 * 1024, note) is None:
            await ended.wait()
            assert results == [False]


def test_stderr_never_blocks_and_counts_what_it_drops(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdio, "MAX_STDERR_LINES", 5)
    stream = stdio.Stderr(pipe.writer)
    line = "x" * 65535 + "\n"
    for _ in range(20):
        # The pipe holds one of them, and the thread another.
        stream.write(line)
    data = b""
    while b"dropped" not in data:
        data += os.read(pipe.reader, 1024 * 1024)
    assert b"writes were dropped because stderr was not read\n" in data
    assert stream.writable()
    assert stream.fileno() == pipe.writer


def test_stderr_waits_until_its_lines_are_written(pipe: Pipe) -> None:
    stream = stdio.Stderr(pipe.writer)
    stream.write("caf\udcc3\n")
    stream.wait_until_written(WAIT_SECONDS)
    assert os.read(pipe.reader, 100) == b"caf\\udcc3\n"


def test_stderr_drops_what_no_thread_can_write(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("no thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    assert stdio.Stderr(pipe.writer).write("x") == 1
