"""Request lines: how they are split and bounded, and the errors for those that are refused."""

import json
import time
import tracemalloc
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.replies import Content, Streamed
from protocol.requests import Chat, ListModels
from sidecar.core.errors import SidecarError
from sidecar.server.framing import (
    MAX_LINE_BYTES,
    SNIFF_BYTES,
    LineDecoder,
    TooLong,
    decode_envelope,
    decode_params,
    encode_line,
    sniff_id,
)


def lines(*pieces: bytes, limit: int = MAX_LINE_BYTES) -> list[bytes | TooLong]:
    decoder = LineDecoder(limit)
    found = [line for piece in pieces for line in decoder.feed(piece)]
    return [*found, *decoder.end()]


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[a:b] for a, b in pairwise(edges)]


# --- lines -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"", []),
        (b"\n", []),
        (b"\n" * 1000, []),
        (b"   \t \r\n \n", []),
        (b"a\nb\n", [b"a", b"b"]),
        (b"a\r\nb\r\n", [b"a", b"b"]),
        (b"a\rb\n", [b"a\rb"]),
        (b"a\nb", [b"a", b"b"]),
        (b"\n\na\n\n\nb\n\n", [b"a", b"b"]),
        (b"\xef\xbb\xbfa\nb\n", [b"a", b"b"]),
        (b"\n\xef\xbb\xbfa\n", [b"\xef\xbb\xbfa"]),
        (b"a\n\xef\xbb\xbfb\n", [b"a", b"\xef\xbb\xbfb"]),
        (b"a\x00b\n", [b"a\x00b"]),
        ("a\u2028b\x85\x0bc\n".encode(), ["a\u2028b\x85\x0bc".encode()]),
        (b"\xff\xfe\n", [b"\xff\xfe"]),
    ],
)
def test_lines(stream: bytes, expected: list[bytes]) -> None:
    assert lines(stream) == expected
    assert lines(*(stream[at : at + 1] for at in range(len(stream)))) == expected


STREAMS = st.binary(max_size=80) | st.lists(
    st.sampled_from([b"\n", b"\r\n", b" ", b"a", b"bb", b"\xef\xbb\xbf", b"0123456789", b"\xff"]), max_size=30
).map(b"".join)


@settings(max_examples=150)
@given(STREAMS, st.lists(st.integers(0, 1000), max_size=10), st.sampled_from([4, 16, MAX_LINE_BYTES]))
def test_any_split_gives_the_same_lines(stream: bytes, places: list[int], limit: int) -> None:
    expected = lines(stream, limit=limit)
    for pieces in (cut(stream, places), [stream[at : at + 1] for at in range(len(stream))]):
        found = lines(*pieces, limit=limit)
        # How much of a refused line was seen before it was refused depends on the pieces.
        assert [type(line) if isinstance(line, TooLong) else line for line in found] == [
            type(line) if isinstance(line, TooLong) else line for line in expected
        ]


def test_a_long_line_is_refused_once_and_skipped() -> None:
    found = lines(b"a\n", b"x" * 60, b"x" * 60, b"x" * 5000, b"xx\nb\n", limit=100)
    assert [line for line in found if not isinstance(line, TooLong)] == [b"a", b"b"]
    assert [line.head for line in found if isinstance(line, TooLong)] == [b"x" * 120]


def test_a_line_of_exactly_the_limit_is_taken() -> None:
    assert lines(b"x" * 100 + b"\n" + b"y" * 101 + b"\n", limit=100)[0] == b"x" * 100
    assert isinstance(lines(b"y" * 101 + b"\n", limit=100)[0], TooLong)
    assert isinstance(lines(b"y" * 101, limit=100)[0], TooLong)


def test_a_long_line_that_the_end_of_input_cuts_is_refused_once() -> None:
    assert len(lines(b"x" * 200, b"x" * 200, limit=100)) == 1


def test_little_is_kept_of_a_long_line() -> None:
    piece = b"x" * (1024 * 1024)
    decoder = LineDecoder(8 * 1024 * 1024)
    tracemalloc.start()
    try:
        found = [line for _ in range(64) for line in decoder.feed(piece)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [len(line.head) for line in found if isinstance(line, TooLong)] == [SNIFF_BYTES]
    # The pieces are the caller's own; what is joined to look for the id is the line up to its limit.
    assert peak < 24 * 1024 * 1024


def _seconds(size: int, unit: bytes) -> float:
    stream = unit * (size // len(unit))
    best = 60.0
    for _ in range(3):
        decoder = LineDecoder()
        started = time.thread_time()
        for at in range(0, size, 4096):
            for _line in decoder.feed(stream[at : at + 4096]):
                pass
        best = min(best, time.thread_time() - started)
    return best


@pytest.mark.parametrize("unit", [b"x" * 99 + b"\n", b"x" * 1000])
def test_time_is_linear_in_the_stream(unit: bytes) -> None:
    # Ten times as long takes ten times the time, or a hundred times if it is quadratic.
    assert _seconds(10_000_000, unit) < 40 * max(_seconds(1_000_000, unit), 0.001)


# --- envelopes -------------------------------------------------------------------------------


def refusal(line: bytes) -> SidecarError:
    with pytest.raises(SidecarError) as caught:
        decode_envelope(line)
    return caught.value


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"\xff", id="no UTF-8"),
        pytest.param(b'{"id":1,"action":"ping\xc0\xaf"}', id="overlong"),
        pytest.param(b'{"id":1,"action":"\xed\xa0\x80"}', id="surrogate bytes"),
        pytest.param(b'{"id":1,"action":"ping","x":"\xff"}', id="no UTF-8 in a field that is not known"),
        pytest.param(b'{"id":1,"action":"\\ud800"}', id="lone surrogate"),
        pytest.param(b'{"id":1,"action":"ping"}\x00', id="NUL"),
        pytest.param(b"{", id="cut"),
        pytest.param(b"not json", id="words"),
        pytest.param(b'{"id":1,"action":"ping"}{"id":2,"action":"ping"}', id="two objects"),
        pytest.param(b'{"id":1,"action":"ping"} x', id="trailing"),
        pytest.param(b'{"id":1,"action":"ping",}', id="trailing comma"),
        pytest.param(b'{"id":NaN,"action":"ping"}', id="NaN"),
        pytest.param(b'{"id":1,"action":"ping","params":{"x":Infinity}}', id="Infinity"),
        pytest.param(b'{"id":1,"action":"ping","params":{"x":-Infinity}}', id="-Infinity"),
        pytest.param(b'{"id":1,"action":"ping","params":{"x":1e999}}', id="1e999"),
        pytest.param(b'{"id":1,"action":"ping","x":[1e999]}', id="1e999 in a field that is not known"),
        pytest.param(b"[" * 20_000 + b"]" * 20_000, id="deep"),
        pytest.param(b'{"id":1,"action":"ping","params":' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="very deep"),
        pytest.param(b'{"a":' * 100_000, id="very deep and cut"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte order mark"),
        pytest.param(b'{"id":true,"action":"ping","x":', id="a wrong type before the break"),
    ],
)
def test_a_line_that_is_no_json_is_a_parse_error(line: bytes) -> None:
    body = refusal(line).body
    assert body.code == "parse_error"
    assert not body.retryable


@pytest.mark.parametrize(
    ("line", "param"),
    [
        (b"[]", None),
        (b'"ping"', None),
        (b"7", None),
        (b"null", None),
        (b"{}", "action"),
        (b'{"id":1}', "action"),
        (b'{"id":true,"action":"ping"}', "id"),
        (b'{"id":1.5,"action":"ping"}', "id"),
        (b'{"id":null,"action":"ping"}', "id"),
        (b'{"id":{},"action":"ping"}', "id"),
        (b'{"id":99999999999999999999,"action":"ping"}', "id"),
        (b'{"id":"' + b"x" * 129 + b'","action":"ping"}', "id"),
        (b'{"id":"a\\u0000b","action":"ping"}', "id"),
        (b'{"id":1,"action":5}', "action"),
        (b'{"id":1,"action":null}', "action"),
        (b'{"id":1,"action":"ping","provider":5}', "provider"),
        (b'{"id":1,"action":"ping","provider":""}', "provider"),
        (b'{"id":1,"action":"ping","timeout":0}', "timeout"),
        (b'{"id":1,"action":"ping","timeout":"1"}', "timeout"),
        (b'{"id":1,"action":"ping","timeout":1.5}', "timeout"),
    ],
)
def test_a_line_of_the_wrong_shape_names_the_field(line: bytes, param: str | None) -> None:
    body = refusal(line).body
    assert (body.code, body.param) == ("invalid_request", param)


@pytest.mark.parametrize("digits", [400, 5000])
def test_an_endless_number_is_answered(digits: int) -> None:
    body = refusal(b'{"id":' + b"9" * digits + b',"action":"ping"}').body
    assert body.code in ("parse_error", "invalid_request")


def test_what_is_accepted() -> None:
    envelope = decode_envelope(
        b' {"id":"\\ud83d\\ude00","action":"ping","future":{"x":1},"params":{"a":[1]},"timeout":5} '
    )
    assert (envelope.id, envelope.action, envelope.timeout) == ("\U0001f600", "ping", 5)
    assert bytes(envelope.params) == b'{"a":[1]}'
    assert decode_envelope(b'{"action":"ping"}').id is msgspec.UNSET
    assert decode_envelope(b'{"id":1,"id":2,"action":"ping"}').id == 2


@pytest.mark.parametrize("value", ["__proto__", "{0.__class__}", "%s%n", "${jndi:ldap://x}", "../../etc/passwd"])
def test_strings_are_plain_data(value: str) -> None:
    assert decode_envelope(json.dumps({"id": value, "action": value}).encode()).id == value


CANARY = "sk-CANARY-0123456789"


@pytest.mark.parametrize(
    "line",
    [
        {"id": [CANARY], "action": "ping"},
        {"id": CANARY * 20, "action": "ping"},
        {"id": 1, "action": [CANARY]},
        {"id": 1, "action": "ping", "provider": {CANARY: CANARY}},
        {"id": 1, "action": "ping", "timeout": CANARY},
    ],
)
def test_a_refused_value_is_never_repeated(line: dict[str, Any]) -> None:
    assert "CANARY" not in repr(msgspec.to_builtins(refusal(json.dumps(line).encode()).body))


@pytest.mark.long
@settings(max_examples=200)
@given(
    st.binary(max_size=60)
    | st.text(max_size=40).map(str.encode)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda each: (
            st.lists(each, max_size=3)
            | st.dictionaries(st.sampled_from(["id", "action", "params", "timeout", "x"]), each)
        ),
        max_leaves=6,
    ).map(lambda value: json.dumps(value).encode())
)
def test_no_line_raises_anything_of_its_own(line: bytes) -> None:
    for decode in (decode_envelope, lambda raw: decode_params(raw, Chat), lambda raw: decode_params(raw, ListModels)):
        try:
            decode(line)
        except SidecarError as error:
            assert error.body.code in ("parse_error", "invalid_request")  # noqa: PT017 - either is right


# --- params ----------------------------------------------------------------------------------

HELLO: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": "x"}, "params.messages"),
        ({"messages": []}, "params.messages"),
        ({"messages": [{"role": "robot", "content": ""}]}, "params.messages[0].role"),
        ({"messages": [HELLO["messages"][0], {"role": "user"}]}, "params.messages[1].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "params.messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}, "params.messages[0].content[0].type"),
        ({"model": None}, "params.model"),
        ({"model": "a\u0000b"}, "params.model"),
        ({"model": "a\nb"}, "params.model"),
        ({"options": [1]}, "params.options"),
        ({"options": {"max_tokens": "many"}}, "params.options.max_tokens"),
        ({"options": {"max_tokens": 0}}, "params.options.max_tokens"),
        ({"options": {"temperature": "warm"}}, "params.options.temperature"),
        ({"options": {"tools": [{"name": ""}]}}, "params.options.tools[0].name"),
        ({"options": {"reasoning": {"effort": "CANARY"}}}, "params.options.reasoning.effort"),
        ({"api_key": 5}, "params.api_key"),
        ({"base_url": "x" * 65536}, "params.base_url"),
    ],
)
def test_params_of_the_wrong_shape_name_the_field(change: dict[str, Any], param: str) -> None:
    with pytest.raises(SidecarError) as caught:
        decode_params(json.dumps(HELLO | change).encode(), Chat)
    body = caught.value.body
    assert (body.code, body.param) == ("invalid_request", param)
    assert "CANARY" not in body.message


def test_a_required_field_is_named() -> None:
    with pytest.raises(SidecarError) as caught:
        decode_params(b"{}", Chat)
    assert caught.value.body.message == "`params.model` is required."


def test_text_is_forwarded_untouched() -> None:
    text = "\x00 \u2028 \U0001f600 {0} \\ud800"
    chat = decode_params(json.dumps(HELLO | {"messages": [{"role": "user", "content": text}]}).encode(), Chat)
    assert chat.messages[0].content == text


def test_unknown_fields_are_found_with_their_paths() -> None:
    sent = {
        "model": "m",
        "new": 1,
        "a key\nof bad taste": 1,
        "options": {"top": 1, "stop": "x"},
        "messages": [{"role": "user", "content": "", "y": 1}],
    }
    unknown: list[str] = []
    decode_params(json.dumps(sent).encode(), Chat, unknown)
    assert sorted(unknown) == ["params.messages[0].y", "params.new", "params.options.top", "params.…"]


# --- ids of lines too long to parse ----------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b'{"id":7,"params":{"x":"aaaa', 7),
        (b'{ "id" : "seven" , "params', "seven"),
        (b'{"params":{"id":1,"x":[{"id":2}]},"id":-3,"a":"', -3),
        (b'{"a":"\\"id\\":1","id":"\\u0041","b', "A"),
        (b'{"params":{"id":1', None),
        (b'{"id":1.5,"x":"', None),
        (b'{"id":1e5,"x":"', None),
        (b'{"id":12', None),
        (b'{"x":"an unfinished text: \\"id\\":7,\\"', None),
        (b'{"id":null,"x":"', None),
        (b'{"id":{"id":1},"x":"', None),
        (b'["id",7', None),
        (b"xxxxxxxx", None),
        (b"", None),
        (b'{"id":"\xff","x":"', None),
        (b'{"id":"' + b"x" * 200, None),
    ],
)
def test_the_id_of_a_line_too_long(head: bytes, found: int | str | None) -> None:
    assert sniff_id(head) == found


@settings(max_examples=100)
@given(
    st.binary(max_size=60)
    | st.lists(
        st.sampled_from([b'"id"', b":", b"{", b"}", b"[", b"]", b",", b"7", b'"x"', b'"', b"\\"]), max_size=25
    ).map(b"".join)
)
def test_looking_for_an_id_never_raises(head: bytes) -> None:
    found = sniff_id(head)
    assert found is None or isinstance(found, (int, str))


def test_looking_for_an_id_is_quick() -> None:
    for unit in (b'"', b"\\", b"[", b'"\\'):
        head = unit * (SNIFF_BYTES // 4 // len(unit))
        started = time.thread_time()
        assert sniff_id(head) is None
        assert time.thread_time() - started < 0.25


# --- the way out -----------------------------------------------------------------------------


def test_a_line_out_is_one_line_of_ascii_safe_json() -> None:
    text = "a\nb\r\u2028\u2029\x00\x1b\ufeff\U0001f600"
    line = encode_line(Streamed(7, True, True, 0, Content(text)))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert not set(line[:-1]) & set(range(0x20))
    assert json.loads(line) == {
        "id": 7,
        "success": True,
        "streaming": True,
        "seq": 0,
        "data": {"type": "content", "content": text},
    }
