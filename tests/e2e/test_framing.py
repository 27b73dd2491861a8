"""Bytes on stdin: whatever they are, each line gets its answer and the next line works."""

import json
import os
import random
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.support import process_probes
from tests.support.fake_provider import CLOSE, Provider
from tests.support.process import Sidecar, text
from tests.support.reply_scripts import ANTHROPIC

MEBIBYTE = 1024 * 1024
LIMIT_BYTES = 32 * MEBIBYTE
PING = b'{"id":"p","action":"ping"}'


def pong(sidecar: Sidecar, raw: bytes) -> None:
    """Write *raw*, which is PING in some guise, and assert that it is answered."""
    sidecar.line({"id": "p"})
    sidecar.write(raw)
    assert sidecar.reply("p")["data"]["pong"] is True


@pytest.mark.parametrize("blank", [b"\n", b"\n" * 1000, b"   \n\t\n \r\n"], ids=["one", "thousand", "spaces"])
def test_blank_lines_are_ignored_in_silence(shared: Sidecar, blank: bytes) -> None:  # A01
    before = len(shared.lines)
    pong(shared, blank + PING + b"\n")
    assert len(shared.lines) == before + 1


def test_a_byte_order_mark_is_skipped_before_the_first_line_alone(tmp_path: Path) -> None:  # A02
    with Sidecar(tmp_path, ready=False) as sidecar:
        pong(sidecar, b"\xef\xbb\xbf" + PING + b"\n")
        assert sidecar.refusal(b"\xef\xbb\xbf" + PING + b"\n")["code"] == "parse_error"


def test_line_ends_of_windows_and_carriage_returns_inside_a_line_are_white_space(shared: Sidecar) -> None:  # A03
    pong(shared, PING + b"\r\n")
    pong(shared, b'{"id":"p",\r"action":\r"ping"}\r\n')


BROKEN = {
    "a byte that is no UTF-8": b'{"id":1,"action":"ping","x":"\xff"}',  # A04
    "an overlong slash": b'{"id":1,"action":"ping","x":"\xc0\xaf"}',
    "a surrogate in bytes": b'{"id":1,"action":"ping","x":"\xed\xa0\x80"}',
    "half a character": b'{"id":1,"action":"ping","x":"\xf0\x9f"}',
    "bytes behind the object": b'{"id":1,"action":"ping"}\xff',
    "a raw NUL in a string": b'{"id":1,"action":"ping","x":"\x00"}',  # A05
    "a raw NUL behind the object": b'{"id":1,"action":"ping"}\x00',
    "a control character in a string": b'{"id":1,"action":"ping","x":"\x1b"}',
    "NaN": b'{"id":1,"action":"ping","x":NaN}',  # A13
    "Infinity": b'{"id":1,"action":"ping","x":Infinity}',
    "-Infinity": b'{"id":1,"action":"ping","params":{"x":-Infinity}}',
    "a number over the range": b'{"id":1,"action":"ping","x":1e999}',
    "one in the params": b'{"id":1,"action":"ping","params":{"x":[-1E+999]}}',
    "a lone high surrogate": rb'{"id":1,"action":"ping","x":"\ud800"}',  # A15
    "a lone low surrogate in the params": rb'{"id":1,"action":"cancel","params":{"id":"\udc00"}}',
    "two objects": PING + PING,  # A17
    "a comma behind the object": PING + b",",
    "half an object": b'{"id":1,"action":"ping"',
    "the other half": b',"params":{}}',
    "a single quote": b"{'id':1}",
    "a word": b"ping",
    "a wrong type before broken JSON": b'{"id":true,"action":"ping","x":}',
}


def test_what_is_no_json_is_answered_with_parse_error_and_no_id(shared: Sidecar) -> None:
    for name, raw in BROKEN.items():
        assert shared.refusal(raw + b"\n")["code"] == "parse_error", name
        pong(shared, PING + b"\n")


@pytest.mark.parametrize("depth", [1_100, 100_000])  # A08
def test_deep_nesting_is_a_parse_error_wherever_it_stands(shared: Sidecar, depth: int) -> None:
    nests = (b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth)
    outsides = (
        b"%s",
        b'{"id":1,"action":%s}',
        b'{"id":1,"action":"ping","x":%s}',
        b'{"id":1,"action":"ping","params":%s}',
        b'{"id":1,"action":"stream_chat","params":{"model":"m","messages":%s}}',
        b'{"id":1,"action":"stream_chat","params":{"model":"m","messages":[],"options":{"provider_options":{"x":%s}}}}',
    )
    for nest in nests:
        for outside in outsides:
            start = time.monotonic()
            assert shared.refusal(outside % nest + b"\n")["code"] == "parse_error", outside
            assert time.monotonic() - start < 1


def test_unterminated_nesting_is_a_parse_error(shared: Sidecar) -> None:  # A08
    assert shared.refusal(b"[" * MEBIBYTE + b"\n")["code"] == "parse_error"


def overlong(head: bytes, size_bytes: int = 100 * MEBIBYTE) -> Iterator[bytes]:
    """Yield a line of that size, less its end."""
    yield head
    piece = b"x" * MEBIBYTE
    for _ in range(size_bytes // MEBIBYTE):
        yield piece


@process_probes.linux_only
@pytest.mark.parametrize(
    ("head", "request_id"),
    [(b'{"id":"big","action":"stream_chat","params":"', "big"), (b'{"action":"x","params":{"id":5},"y":"', None)],
    ids=["with an id", "without"],
)
def test_an_overlong_line_is_refused_and_skipped_in_bounded_memory(
    sidecar: Sidecar, head: bytes, request_id: str | None
) -> None:  # A06
    before = process_probes.rss_bytes(sidecar.process.pid)
    for piece in overlong(head):
        sidecar.write(piece)
    error = sidecar.refusal(b'"}\n', request_id)
    assert (error["code"], error["reason"]) == ("invalid_request", "line_too_long")
    pong(sidecar, PING + b"\n")
    assert process_probes.peak_rss_bytes(sidecar.process.pid) - before <= 2 * LIMIT_BYTES


def test_a_line_of_just_the_limit_is_taken(sidecar: Sidecar) -> None:  # A06
    sidecar.max_growth_bytes = 4 * LIMIT_BYTES
    start, end = b'{"id":"p","action":"ping","params":{"x":"', b'"}}'
    pong(sidecar, start + b"x" * (LIMIT_BYTES - len(start + end)) + end + b"\n")
    error = sidecar.refusal(start + b"x" * (LIMIT_BYTES - len(start + end) + 1) + end + b"\n", "p")
    assert error["reason"] == "line_too_long"


def test_input_that_ends_within_an_overlong_line_ends_the_process_cleanly(sidecar: Sidecar) -> None:  # A07
    for piece in overlong(b'{"id":7,"action":"'):
        sidecar.write(piece)
    assert sidecar.refusal(b"", 7)["reason"] == "line_too_long"
    sidecar.close_stdin()
    sidecar.exit()


def test_a_last_line_without_its_end_is_still_a_request(sidecar: Sidecar, provider: Provider) -> None:  # A19
    request = sidecar.request("stream_chat", sidecar.params(provider.play("m", ANTHROPIC.answer("whole"))))
    sidecar.write(sidecar.line(request | {"provider": "anthropic"}).rstrip(b"\n"))
    sidecar.close_stdin()
    assert text(sidecar.stream(request["id"])) == "whole"
    sidecar.exit()


def test_a_last_line_that_was_cut_is_a_parse_error(sidecar: Sidecar) -> None:  # A19
    sidecar.write(PING[:-1])
    sidecar.close_stdin()
    assert sidecar.reply(None)["error"]["code"] == "parse_error"
    sidecar.exit()


def test_a_byte_at_a_time_makes_no_difference(sidecar: Sidecar, provider: Provider) -> None:  # A20
    request = sidecar.request("stream_chat", sidecar.params(provider.play("m", ANTHROPIC.answer("one", "two"))))
    for byte in sidecar.line(request | {"provider": "anthropic"}):
        sidecar.write(bytes([byte]))
    assert text(sidecar.stream(request["id"])) == "onetwo"


def test_ten_thousand_requests_in_one_write_are_all_answered(sidecar: Sidecar) -> None:  # A20
    requests = [sidecar.request("ping") for _ in range(10_000)]
    sidecar.write(b"".join(map(sidecar.line, requests)))
    for request in requests:
        assert sidecar.reply(request["id"])["data"]["pong"] is True


def test_random_bytes_get_no_more_than_one_refusal_a_line(sidecar: Sidecar) -> None:  # A25
    chance = random.Random(25)
    noise = chance.randbytes(10 * MEBIBYTE)
    sidecar.write(noise + b"\n" + PING + b"\n")
    sidecar.line({"id": "p"})
    assert sidecar.reply("p", 20)["success"]
    answers = sidecar.lines_of(None)
    assert 0 < len(answers) <= noise.count(b"\n") + 1
    assert {line.code for line in answers} <= {"parse_error", "invalid_request"}


def test_mutilated_requests_get_one_answer_each(sidecar: Sidecar) -> None:  # A25
    chance = random.Random(26)
    whole = json.dumps({"id": "q", "action": "cancel", "params": {"id": "7", "x": [1.5, None, "\u00e9\n"]}}).encode()
    lines: list[bytes] = []
    for _ in range(2000):
        line = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(line))
            line[at : at + chance.randint(0, 3)] = chance.choice((b"", b'"', b"{", b"]", b"\\", b"\xff", b"9", b"e"))
        lines.append(bytes(line))
    before = len(sidecar.lines)
    sidecar.expects_answers = False
    sidecar.write(b"\n".join([*lines, PING, b""]))
    sidecar.reply("p")
    assert len(sidecar.lines) - before == len(lines) + 1


@contextmanager
def a_file(content: bytes) -> Iterator[int]:
    """Yield a descriptor of a file."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield file.fileno()


@contextmanager
def nothing(_: bytes) -> Iterator[int]:
    """Yield a descriptor of the null device."""
    fd = os.open(os.devnull, os.O_RDONLY)
    yield fd
    os.close(fd)


@contextmanager
def a_socket(content: bytes) -> Iterator[int]:
    """Yield a socket whose other end has spoken and left."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(content)
        ours.shutdown(socket.SHUT_WR)
        yield theirs.fileno()


@contextmanager
def a_terminal(content: bytes) -> Iterator[int]:
    """Yield a terminal on which a person types and ends with ^D."""
    ours, theirs = os.openpty()
    os.write(ours, content + b"\x04")
    yield theirs
    os.close(ours)
    os.close(theirs)


@contextmanager
def a_nonblocking_pipe(content: bytes) -> Iterator[int]:
    """Yield a pipe that its owner has made non-blocking."""
    theirs, ours = os.pipe()
    os.set_blocking(theirs, False)
    os.write(ours, content)
    os.close(ours)
    yield theirs
    os.close(theirs)


@process_probes.posix_only
@pytest.mark.parametrize("kind", [a_file, nothing, a_socket, a_terminal, a_nonblocking_pipe])
def test_stdin_may_be_anything(
    tmp_path: Path, provider: Provider, kind: Callable[[bytes], AbstractContextManager[int]]
) -> None:  # A24
    with kind(PING + b"\n") as stdin:
        flags = _flags(stdin)
        # Without a word, it tells a person at a terminal what it is, and reads nothing.
        arguments = ["serve"] if kind is a_terminal else []
        with Sidecar(tmp_path, provider, arguments=arguments, stdin=stdin, ready=False) as sidecar:
            if kind is not nothing:
                sidecar.line({"id": "p"})
            sidecar.exit()
        assert len(sidecar.lines) == (kind is not nothing)
        assert _flags(stdin) == flags


def _flags(fd: int) -> int:
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_GETFL)


def test_a_connection_that_was_closed_while_it_was_idle_is_replaced_unseen(
    sidecar: Sidecar, provider: Provider
) -> None:  # A26, in short: the provider's patience with an idle connection ends at once
    provider.play("m", [*ANTHROPIC.answer("hello"), CLOSE])
    for number in range(3):
        assert text(sidecar.stream(sidecar.chat("m"))) == "hello"
        assert provider.call("m", number).connection == number
        provider.closes(number)
