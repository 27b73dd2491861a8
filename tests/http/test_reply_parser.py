"""Replies from bytes: what is read, what is refused, and that it is the same however the bytes are split."""

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.http.message import MAX_HEAD_BYTES, CutReplyError, MalformedReplyError
from sidecar.http.reply_parser import ReplyParser
from tests.http.replies import CHUNKED, CUT, DOUBTFUL, GOOD, MALFORMED, MORE, OK, TWO, UNTIL_CLOSE

FEW_BYTES = 400
"""A reply of no more is cut at every place, a longer one at a hundred."""


def parsed(pieces: Iterable[bytes]) -> tuple[ReplyParser, str]:
    """Return a parser that was fed *pieces* and then the end, and how that went."""
    parser = ReplyParser()
    try:
        for piece in pieces:
            parser.feed(piece)
        parser.finish()
    except (CutReplyError, MalformedReplyError) as error:
        return parser, type(error).__name__
    return parser, "fine"


def splits(data: bytes) -> Iterator[list[bytes]]:
    """Yield *data* in two pieces, cut everywhere, and byte by byte."""
    for at in range(0, len(data) + 1, 1 if len(data) <= FEW_BYTES else len(data) // 100):
        yield [data[:at], data[at:]]
    if len(data) <= FEW_BYTES:
        yield [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize(("reply", "body"), (GOOD | UNTIL_CLOSE).values(), ids=[*GOOD, *UNTIL_CLOSE])
def test_a_reply_is_read_alike_however_it_is_split(reply: bytes, body: bytes) -> None:
    whole, outcome = parsed([reply])
    assert (outcome, whole.complete, whole.excess) == ("fine", True, False)
    for pieces in splits(reply):
        parser, outcome = parsed(pieces)
        assert (outcome, b"".join(parser.parts), parser.head) == ("fine", body, whole.head)
        assert (parser.complete, parser.reusable) == (True, whole.reusable)


@pytest.mark.parametrize("reply", CUT.values(), ids=CUT)
def test_a_reply_that_is_cut_is_never_taken_for_whole(reply: bytes) -> None:
    for pieces in splits(reply):
        parser, outcome = parsed(pieces)
        assert (outcome, parser.complete) == ("CutReplyError", False)


@pytest.mark.long
@pytest.mark.parametrize("reply", (MALFORMED | DOUBTFUL).values(), ids=[*MALFORMED, *DOUBTFUL])
def test_a_reply_that_two_readers_could_read_in_two_ways_is_none(reply: bytes) -> None:
    for pieces in splits(reply):
        parser, outcome = parsed(pieces)
        assert (outcome, parser.complete) == ("MalformedReplyError", False)


@pytest.mark.parametrize("data", MORE.values(), ids=MORE)
def test_what_follows_a_reply_is_noticed_and_not_read(data: bytes) -> None:
    for pieces in splits(data):
        parser, outcome = parsed(pieces)
        assert (outcome, parser.complete, parser.excess) == ("fine", True, True)
        assert b"".join(parser.parts) in (b"ok", b"")


def test_headers_have_lower_case_names_and_those_that_come_twice_are_joined() -> None:
    parser, _ = parsed([OK + b"X-One: \t a \t\r\nx-ONE: b\r\nX-Name: Zo\xeb\r\n" + TWO + b"ok"])
    assert parser.head
    assert parser.head.headers == {"x-one": "a, b", "x-name": "Zoë", "content-length": "2"}


@pytest.mark.parametrize(
    ("name", "reusable"),
    [
        ("counted", True),
        ("chunked", True),
        ("204", True),
        ("HTTP/1.0", False),
        ("HTTP/1.0 that stays", True),
        ("no connection afterwards", False),
    ],
)
def test_a_connection_serves_again_where_the_server_lets_it(name: str, reusable: bool) -> None:
    assert parsed([GOOD[name][0]])[0].reusable is reusable


def test_what_came_before_a_fault_is_good() -> None:
    parser, outcome = parsed([CHUNKED + b"5\r\nfirst\r\nzz\r\n"])
    assert (parser.parts, outcome) == ([b"first"], "MalformedReplyError")


def test_bodies_may_be_as_long_as_they_are() -> None:
    parser = ReplyParser()
    parser.feed(CHUNKED)
    for _ in range(300):
        parser.feed(b"2000\r\n" + b"x" * 0x2000 + b"\r\n")
        assert sum(map(len, parser.parts)) == 0x2000
        parser.parts.clear()
    parser.feed(b"0\r\n\r\n")
    assert parser.complete


def test_a_body_may_come_with_more_of_framing_than_of_body() -> None:
    parser = ReplyParser()
    parser.feed(CHUNKED)
    for _ in range(MAX_HEAD_BYTES // 10):
        parser.feed(b"1;and=an-extension-to-it\r\nx\r\n")
    assert len(parser.parts) == MAX_HEAD_BYTES // 10


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_bytes_that_are_anything_raise_what_is_documented_and_nothing_else(pieces: list[bytes]) -> None:
    parsed(pieces)
    parsed([OK, *pieces])
    parsed([CHUNKED, *pieces])
