"""Integers that many languages cannot hold: none that a provider sends reaches the host."""

import re
from typing import Any

import msgspec
import pytest

from sidecar.catalogue.listings import parse_page
from sidecar.catalogue.provider_rows import read_providers
from sidecar.core.errors import SidecarError
from sidecar.core.json_values import MAX_INTEGER, has_big_integer
from sidecar.core.message_content import make_portable
from sidecar.wires.shared.draft import MAX_PIECE_CHARS
from tests.support import documents, fixtures
from tests.support.decoding import play
from tests.support.fixtures import Case

pytestmark = pytest.mark.long

BIG = str(MAX_INTEGER + 1)
REPLIES = [pytest.param(case, id=case.name) for case in fixtures.cases() if case.has_reply]


def enlarge(body: bytes) -> bytes:
    """Return the JSON or the events in *body* with a big integer in the place of every number."""
    return re.sub(rb"(?<=[:\[,])(\s*)-?\d+(\.\d+)?(?=\s*[,}\]])", rb"\g<1>" + BIG.encode(), body)


@pytest.mark.parametrize("case", REPLIES)
def test_no_big_integer_of_a_reply_reaches_the_host(case: Case) -> None:
    headers = {name: re.sub(r"\b\d+\b", BIG, value) for name, value in case.head["headers"].items()}
    out: list[Any] = []
    found: Any
    try:
        outcome = play(fixtures.route(case), case.head["status"], headers, [enlarge(case.body)], out.extend)
        found = msgspec.structs.replace(outcome, message=make_portable(outcome.message))
    except SidecarError as error:
        found = error.body
    assert not has_big_integer(msgspec.to_builtins([*out, found]), None)


@pytest.mark.parametrize("number", [int(BIG), BIG, "9" * 18, -1], ids=["number", "text", "long", "below"])
@pytest.mark.parametrize("name", [name for name, row in read_providers().items() if row.models.lists])
def test_no_big_integer_of_a_list_reaches_the_host(name: str, number: object) -> None:
    for listing in read_providers()[name].models.lists:
        paths = (*listing.context_length, *listing.max_input, *listing.max_output)
        entry: dict[str, Any] = {}
        for path in (*listing.id[:1], *paths):
            *steps, last = path.split(".")
            place = entry
            for step in steps:
                place = place.setdefault(step, {})
            place[last] = "m" if path in listing.id else number
        models, _ = parse_page(listing, [entry], name)
        assert not has_big_integer(msgspec.to_builtins(models), None)


def test_the_bounds_of_lines_are_those_of_the_program() -> None:
    from protocol.files import FileChunk
    from protocol.replies import Content, Reasoning, Streamed, ToolCallDelta
    from sidecar.server.framing import encode_line
    from sidecar.server.line_limit import BYTES_PER_CHAR, FRAME_BYTES
    from sidecar.wires.shared.answer_size import MAX_ANSWER_CHARS

    text = documents.read("protocol/PROTOCOL.md")
    piece = MAX_PIECE_CHARS * BYTES_PER_CHAR + FRAME_BYTES
    text_of_piece = "\0" * MAX_PIECE_CHARS
    for chunk in (
        Content(text_of_piece),
        Reasoning(text_of_piece),
        ToolCallDelta(10**4, "\1" * 512, "\1" * 256, text_of_piece),
        FileChunk(10**4, text_of_piece),
    ):
        assert len(encode_line(Streamed("\1" * 128, True, True, 10**6, chunk))) <= piece
    assert f"at most {piece:,} bytes" in text
    assert f"at most {MAX_ANSWER_CHARS:,} characters of text" in text
