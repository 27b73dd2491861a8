"""Code out of prose: fences as CommonMark has them, and what is said where it is not clear which text is the code."""

import pytest

from protocol.files import CodeBlock
from sidecar.formats.code import extract_code, list_fenced_blocks, unwrap

SPEC: list[tuple[str, list[str], bool]] = [
    ("```\n<\n >\n```", ["<\n >\n"], True),
    ("~~~\n<\n >\n~~~", ["<\n >\n"], True),
    ("``\nfoo\n``", [], True),
    ("```\naaa\n~~~\n```", ["aaa\n~~~\n"], True),
    ("~~~\naaa\n```\n~~~", ["aaa\n```\n"], True),
    ("````\naaa\n```\n``````", ["aaa\n```\n"], True),
    ("~~~~\naaa\n~~~\n~~~~", ["aaa\n~~~\n"], True),
    ("```", [""], False),
    ("`````\n\n```\naaa", ["\n```\naaa\n"], False),
    ("```\n\n  \n```", ["\n  \n"], True),
    ("```\n```", [""], True),
    (" ```\n aaa\naaa\n```", ["aaa\naaa\n"], True),
    ("  ```\naaa\n  aaa\naaa\n  ```", ["aaa\naaa\naaa\n"], True),
    ("   ```\n   aaa\n    aaa\n  aaa\n   ```", ["aaa\n aaa\naaa\n"], True),
    ("    ```\n    aaa\n    ```", [], True),
    ("```\naaa\n  ```", ["aaa\n"], True),
    ("   ```\naaa\n  ```", ["aaa\n"], True),
    ("```\naaa\n    ```", ["aaa\n    ```\n"], False),
    ("``` ```\naaa", [], True),
    ("~~~~~~\naaa\n~~~ ~~", ["aaa\n~~~ ~~\n"], False),
    ("foo\n```\nbar\n```\nbaz", ["bar\n"], True),
    ("~~~~    ruby startline=3 $%@#$\ndef foo(x)\n  return 3\nend\n~~~~~~~", ["def foo(x)\n  return 3\nend\n"], True),
    ("````;\n````", [""], True),
    ("``` aa ```\nfoo", [], True),
    ("~~~ aa ``` ~~~\nfoo\n~~~", ["foo\n"], True),
    ("```\n``` aaa\n```", ["``` aaa\n"], True),
    ("- a\n\n  ```\n  b\n    c\n  ```", ["b\n  c\n"], True),
    ("10. a\n\n    ```py\n    b\n    ```\n\n```\nc\n```", ["b\n", "c\n"], True),
    ("- ```\n  b\n  ```", ["b\n"], True),
]
"""The examples of the specification's section 4.5 that are about fences alone, and some in items of lists."""


@pytest.mark.parametrize(("text", "codes", "closed"), SPEC)
@pytest.mark.parametrize("end", ["", "\n"])
def test_fences_are_read_as_the_specification_has_them(text: str, codes: list[str], closed: bool, end: str) -> None:
    blocks, is_closed = list_fenced_blocks(text + end)
    assert ([each.code for each in blocks], is_closed) == (codes, closed)


@pytest.mark.parametrize(
    ("text", "language", "code", "found", "problem"),
    [
        ("Here:\n```python\nx\n```\nDone.", "python", "x\n", "python", None),
        ("Here:\n```py\nx\n```\n", "python", "x\n", "py", None),
        ("```\nx\n```", "python", "x\n", "python", None),
        ("```Rust\nx\n```", None, "x\n", "rust", None),
        ("```bash\nls\n```\n```python\nx\n```", "python", "x\n", "python", None),
        ("```bash\nls\n```\n```\nx\n```", "python", "x\n", "python", None),
        ("```python\nx\n```\n```python\ny\n```", "python", None, "python", "several_blocks"),
        ("```a\nx\n```\n```b\ny\n```", None, None, None, "several_blocks"),
        ("```rust\nx\n```", "python", "x\n", "rust", "other_language"),
        ("```python\nx = 1\ny", "python", "x = 1\ny\n", "python", "unclosed_fence"),
        ("x = 1\n", "python", "x = 1\n", "python", None),
        ("Here is the code:\n\nx = 1\n", "python", "Here is the code:\n\nx = 1\n", "python", "no_fence"),
        (
            "x = 1\n\nThis sets x to one, as you asked.",
            "python",
            "x = 1\n\nThis sets x to one, as you asked.",
            "python",
            "no_fence",
        ),
        (" \n", "python", None, "python", "empty"),
    ],
)
def test_the_code_is_never_guessed(
    text: str, language: str | None, code: str | None, found: str | None, problem: str | None
) -> None:
    result = extract_code(text, language)
    assert (result.code, result.language, result.problem) == (code, found, problem)


def test_every_block_is_listed_with_its_language_and_its_path() -> None:
    text = "```ts src/a.ts\na\n```\n~~~\nb\n~~~\n```src/c.py\nc\n```\n```{.r}\nd\n```\n"
    assert extract_code(text).blocks == [
        CodeBlock(language="ts", code="a\n", path="src/a.ts"),
        CodeBlock(code="b\n"),
        CodeBlock(code="c\n", path="src/c.py"),
        CodeBlock(language="r", code="d\n"),
    ]


def test_crlf_stays_in_the_code() -> None:
    assert extract_code("```\r\na\r\n\r\nb\r\n```\r\n").code == "a\r\n\r\nb\r\n"


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        ("```python\nx\n```\n", "x\n"),
        ("```\nx\n```\n\n", "x\n"),
        ("```\n```", ""),
        ("```\nx\n```\ny\n", None),
        ("```\nx\n```\n```\ny\n```\n", None),
        ("x\n```\n", None),
        ("```\nx\n", None),
    ],
)
def test_a_fence_around_all_of_a_text_is_told_from_others(text: str, inner: str | None) -> None:
    assert unwrap(text) == inner
