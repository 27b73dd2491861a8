"""Pieces of a tool call: whether an object is whole is known after reading each character once."""

import json
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.messages import OpaquePart, ToolCallPart
from sidecar.core.message_content import list_parts
from sidecar.wires.openai_chat.tool_calls import ObjectScan
from tests.support.openai_chats import DONE, delta, played

TEXTS = st.text('{}[]"\\ \n,:a1', max_size=30) | st.dictionaries(st.text('{}"\\'), st.text('{}"\\')).map(json.dumps)


@given(TEXTS, st.lists(st.integers(0, 30)))
def test_an_object_is_seen_to_end_however_it_is_cut(text: str, cuts: list[int]) -> None:
    whole, in_pieces = ObjectScan(), ObjectScan()
    whole.feed(text)
    places = [0, *sorted(cuts), len(text)]
    for begin, end in pairwise(places):
        in_pieces.feed(text[begin:end])
    assert whole.is_closed == in_pieces.is_closed
    try:
        is_object = isinstance(json.loads(text), dict)
    except ValueError:
        is_object = False
    assert whole.is_closed or not is_object


@pytest.mark.long
@pytest.mark.parametrize("kind", ["function", "x_search"])
@pytest.mark.parametrize("repeated_name", [False, True])
def test_many_pieces_after_a_long_call_are_taken_at_once(kind: str, *, repeated_name: bool) -> None:
    def piece(call_id: str, arguments: str, name: str = "") -> dict[str, object]:
        fields = {"index": 0, "id": call_id, "type": kind, "function": {"name": name, "arguments": arguments}}
        return delta(tool_calls=[fields])

    first = piece("c", '{"a":"' + "x" * 4_000_000 + '"', "f")
    more = [piece("c" if repeated_name else f"c{each}", "}", "f" if repeated_name else "") for each in range(3000)]
    started = time.thread_time()
    parts = list_parts(played(first, *more, DONE)[1].message)
    assert time.thread_time() - started < 2
    assert isinstance(parts[0], ToolCallPart if kind == "function" else OpaquePart)
