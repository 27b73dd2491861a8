"""Answers of real models: what `auto` and `fences` make of them, whole and in pieces."""

import random
from functools import cache

import pytest

from protocol.files import FormatName
from sidecar.formats.code import extract_code
from tests.formats.lexing import cut, lexed, prose
from tests.support import corpus

pytestmark = pytest.mark.skipif(not corpus.ROOT.exists(), reason="the recorded exchanges are not at hand")


@cache
def answers() -> list[tuple[str, str]]:
    """Return the texts that independent readers found in the recordings."""
    found = []
    for path in sorted(corpus.ROOT.glob("*/*/meta.json")):
        exchange = corpus.Exchange(path.parent)
        text = exchange.expected.get("text")
        if isinstance(text, str) and text:
            found.append((exchange.name, text))
    return found


@pytest.mark.parametrize("name", ["auto", "fences"])
def test_an_answer_without_files_comes_out_as_it_went_in(name: FormatName) -> None:
    """Ours: none of the recorded answers was asked for files."""
    assert len(answers()) > 50
    for number, (_, text) in enumerate(answers()):
        chance = random.Random(number)
        events = lexed(name, text)
        assert prose(events) == text
        assert lexed(name, *cut(text, [chance.randrange(len(text) + 1) for _ in range(20)])) == events


def test_the_code_of_an_answer_is_what_stands_in_its_fences() -> None:
    fenced = [text for _, text in answers() if "```" in text]
    assert fenced
    for text in fenced:
        found = extract_code(text)
        assert found.blocks
        assert all(line in text for block in found.blocks for line in block.code.split("\n"))
