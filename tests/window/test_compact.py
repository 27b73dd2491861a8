"""White space that leaves texts, and everything that it must not leave."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.messages import Citation, FilePart, Message, TextPart, ToolResultPart
from sidecar.formats.code import list_fenced_blocks
from sidecar.window.compact import compact, compact_text

WASTE = "a  \n\n\n\nb\t"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b", "a b"),
        ("a  \nb \t\nc", "a\nb\nc"),
        ("a\n\nb", "a\n\nb"),
        ("a\n\n\n\nb", "a\n\nb"),
        ("a\n \n\t\nb", "a\n\nb"),
        ("\n\n\na", "\na"),
        ("a\n\n\n", "a\n\n"),
        ("  a\n   b  ", "  a\n   b"),
        ("a  \r\n\r\n\r\n\r\nb\r\n", "a\r\n\r\nb\r\n"),
        ("a  \u2028b", "a  \u2028b"),
        ("x  \n```\na  \n\n\n\nb  \n```\ny  ", "x\n```\na  \n\n\n\nb  \n```\ny"),
        ("~~~\na  \n```\nb  \n~~~\nc  ", "~~~\na  \n```\nb  \n~~~\nc"),
        ("```\na  \n    ```\nb  \n```", "```\na  \n    ```\nb  \n```"),
        ("- x\n\n  ```\n  a  \n  ```\nb  ", "- x\n\n  ```\n  a  \n  ```\nb"),
        ("1.  x\n\n    ```\n    a  \n    ```\nb  ", "1.  x\n\n    ```\n    a  \n    ```\nb"),
        ("> ```\n> a  \n> ```\n>  \n>\nb  ", "> ```\n> a  \n> ```\n>  \n>\nb"),
        ("- ```\n  a  \n  ```\n- b  ", "- ```\n  a  \n  ```\n- b"),
        ("```\n> ```\na  \n```\nb  ", "```\n> ```\na  \n```\nb"),
        ("> ```\n> a  \nb  \n```\nc  \n```", "> ```\n> a  \nb\n```\nc  \n```"),
        ("```\nnever closed  \n\n\n\n  ", "```\nnever closed  \n\n\n\n  "),
        ("", ""),
        ("  ", ""),
    ],
)
def test_blanks_at_line_ends_and_runs_of_blank_lines_leave_a_text(text: str, expected: str) -> None:
    assert compact_text(text) == expected


def test_a_text_without_waste_is_not_even_copied() -> None:
    text = "a\n\nb" * 10
    assert compact_text(text) is text


@pytest.mark.parametrize(
    ("message", "chars"),
    [
        (Message(role="user", content=WASTE), 5),
        (Message(role="system", content=WASTE), 5),
        (Message(role="assistant", content=[TextPart(WASTE), TextPart(WASTE)]), 10),
        (Message(role="user", content=[ToolResultPart("c", WASTE), TextPart(WASTE)]), 5),
        (Message(role="tool", content=[ToolResultPart("c", [TextPart(WASTE)])]), 0),
        (Message(role="tool", content=WASTE), 0),
        (Message(role="user", content=[FilePart(data="eCAg", media_type="text/plain")]), 0),
        (Message(role="assistant", content=[TextPart(WASTE, state="{}")]), 0),
        (Message(role="assistant", content=[TextPart(WASTE, citations=[Citation(start=4, end=5)])]), 0),
    ],
)
def test_only_texts_that_nobody_has_signed_or_counted_change(message: Message, chars: int) -> None:
    messages, removed = compact([message])
    assert removed == chars
    assert (messages[0] is message) is (chars == 0)


TEXTS = st.lists(st.sampled_from(["```", "~~~", "````", "  ```", "a", " ", "\n", "\n", "\t", "\r\n", "> ", "- "])).map(
    "".join
)


@given(TEXTS)
def test_whatever_the_text_what_is_fenced_stays_and_nothing_but_white_space_goes(text: str) -> None:
    after = compact_text(text)
    assert compact_text(after) == after
    assert "".join(after.split()) == "".join(text.split())
    assert _blocks(after) == _blocks(text)


def _blocks(text: str) -> list[Any]:
    return [block.code for block in list_fenced_blocks(text)[0]]


@pytest.mark.long
@pytest.mark.parametrize("text", ["a  \n" * 250_000, " \n" * 500_000, " " * 1_000_000, "> " * 500_000 + " \n"])
def test_a_text_of_a_million_characters_takes_no_time(text: str) -> None:
    began = time.perf_counter()
    compact_text(text)
    assert time.perf_counter() - began < 2
