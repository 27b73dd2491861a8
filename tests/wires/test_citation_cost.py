"""Sources of an answer: found in time that grows with the answer, not with its square."""

import time

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from protocol.messages import State, TextPart
from sidecar.core.message_content import list_parts
from sidecar.wires import anthropic_messages
from sidecar.wires.gemini.citations import BLOCK_CHARS, AnswerText
from sidecar.wires.shared.types import Route

TEXTS = st.text(alphabet="aä€😀", max_size=3 * BLOCK_CHARS // 1000)


@given(st.lists(TEXTS, max_size=6), st.integers(0, 200))
def test_an_offset_in_bytes_is_found_whatever_pieces_the_text_comes_in(pieces: list[str], offset: int) -> None:
    answer, whole = AnswerText(), "".join(pieces).encode()
    for piece in pieces:
        answer.add(piece)
    expected = len(whole[:offset].decode("utf-8", "ignore")) if offset <= len(whole) else None
    assert answer.count_chars(offset) == expected
    assert answer.chars == len("".join(pieces))


def test_ten_thousand_offsets_in_a_long_answer_are_found_at_once() -> None:
    answer = AnswerText()
    answer.add("ä" * 2_000_000)
    began = time.thread_time()
    assert [answer.count_chars(offset) for offset in range(0, 4_000_000, 400)] == [*range(0, 2_000_000, 200)]
    assert time.thread_time() - began < 1


def test_citations_of_a_text_are_kept_once_however_many() -> None:
    route = Route(provider="p", wire="anthropic_messages", model="m", base_url="https://p.test")
    decoder, count = anthropic_messages.Decoder(route), 5000
    decoder.feed(frame(type="content_block_start", index=0, content_block={"type": "text", "text": "a"}), [])
    began = time.thread_time()
    for number in range(count):
        delta = {"type": "citations_delta", "citation": {"type": "page_location", "url": f"https://p.test/{number}"}}
        decoder.feed(frame(type="content_block_delta", index=0, delta=delta), [])
    assert time.thread_time() - began < 1
    (part,) = list_parts(decoder.build_partial())
    assert isinstance(part, TextPart)
    assert isinstance(part.state, State)
    assert len(part.citations or ()) == len(part.state.data["citations"]) == count


def frame(**fields: object) -> tuple[str, bytes]:
    return "", msgspec.json.encode(fields)
