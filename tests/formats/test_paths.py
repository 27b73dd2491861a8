"""Paths as models write them: made plain, or refused for what they say; and the lines that name a file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.formats import paths
from sidecar.formats.events import Closed
from tests.formats.lexing import NONCE, lexed


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("src/a.py", "src/a.py"),
        ("./src//a.py", "src/a.py"),
        ("a/./b", "a/b"),
        ("src\\win\\a.py", "src/win/a.py"),
        ("`src/a.py`", "src/a.py"),
        ('"a b.py"', "a b.py"),
        ("**a.py**", "a.py"),
        ("cafe\u0301.py", "caf\u00e9.py"),
        (".gitignore", ".gitignore"),
        ("app/[id]/(group)/@slot/page.tsx", "app/[id]/(group)/@slot/page.tsx"),
        ("console.py", "console.py"),
        ("com10/nullable.c", "com10/nullable.c"),
        ("a/..b/c..", None),
        ("...", None),
    ],
)
def test_a_path_is_made_plain(raw: str, plain: str | None) -> None:
    assert paths.clean_path(raw) == (plain, None) if plain else paths.clean_path(raw)[1]


@pytest.mark.parametrize(
    ("raw", "refusal"),
    [
        ("", "empty"),
        (".", "empty"),
        ("src/", "empty"),
        ("/etc/passwd", "absolute"),
        ("../a", "parent"),
        ("a/../../b", "parent"),
        ("a/../b", "parent"),
        ("..\\a", "parent"),
        ("C:\\a", "drive"),
        ("c:a", "drive"),
        ("\\\\server\\share\\a", "network"),
        ("//server/share", "network"),
        ("\\\\?\\C:\\a", "network"),
        ("~/.ssh/id", "home"),
        ("~root/a", "home"),
        ("a\x00b", "control"),
        ("a\nb", "control"),
        ("a\x1b[2Jb", "control"),
        ("a\u202egnp.exe", "control"),
        ("a\u200bb", "control"),
        ("a\u2028b", "control"),
        ("a\ud800", "control"),
        ("a.txt:stream", "stream"),
        ("src/a.py ", "trailing"),
        ("src./a.py", "trailing"),
        ("a.", "trailing"),
        ("CON", "device"),
        ("src/nul.txt", "device"),
        ("aux .c", "device"),
        ("Lpt1", "device"),
        ("com\u00b9.log", "device"),
        ("CONIN$", "device"),
        ("x" * 256, "too_long"),
        ("\u00e9" * 128, "too_long"),
        ("x/" * 600 + "x", "too_long"),
    ],
)
def test_a_path_that_leads_elsewhere_is_refused_and_its_content_delivered(raw: str, refusal: str) -> None:
    assert paths.clean_path(raw)[1] == refusal
    if raw and raw.isprintable() and raw == raw.strip():
        (closed,) = [
            event
            for event in lexed("blocks", f"<<<< file {NONCE} {raw}\nall of it\n>>>> file {NONCE}\n")
            if isinstance(event, Closed)
        ]
        assert closed.start.refused == refusal
        assert closed.text == "all of it\n"
        assert closed.complete


@given(st.text(alphabet='ab./\\~: \u00e9\x00\u202e`"*', max_size=20))
def test_a_path_that_is_taken_stays_below_its_root(raw: str) -> None:
    path, refusal = paths.clean_path(raw)
    if refusal is None:
        parts = path.split("/")
        assert all(part and part not in (".", "..") and part == part.rstrip(" .") for part in parts)
        assert not set(path) & set("\\:\x00\u202e")
        assert paths.clean_path(path)[0] == path or path[0] in '`"*'
    else:
        assert path.isprintable() or "\ufffd" in path


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("src/a.py", "src/a.py"),
        ("src/a.py:", "src/a.py"),
        ("### src/a.py", "src/a.py"),
        ("#### `a b/c d.txt`", "a b/c d.txt"),
        ("**src/a.py**", "src/a.py"),
        ("**`src/a.py`**:", "src/a.py"),
        ("**File: src/a.py**", "src/a.py"),
        ("File: `Makefile`", "Makefile"),
        ("Filename: x.c", "x.c"),
        ("1. `src/x.ts`", "src/x.ts"),
        ("- .env", ".env"),
        ("/etc/passwd", "/etc/passwd"),
        ("C:\\x\\y.py", "C:\\x\\y.py"),
        ("Node.js", None),
        ("### Usage", None),
        ("Here is src/a.py:", None),
        ("e.g.", None),
        ("2.0", None),
        ("f(x)", None),
        ("https://example.com/a.py", None),
        ("", None),
    ],
)
def test_a_line_of_nothing_but_a_path_names_the_file_below_it(line: str, path: str | None) -> None:
    assert paths.find_path_in_line(f"{line}\n") == path
    if path:
        assert all(paths.may_name_file(line[:size]) is None for size in range(1, len(line) + 1))


@pytest.mark.parametrize(
    ("info", "path"),
    [
        ("python", None),
        ("c++", None),
        ("python src/a.py", "src/a.py"),
        ("python:src/a.py", "src/a.py"),
        ("src/a.py", "src/a.py"),
        ('js title="a b.js"', "a b.js"),
        ("ts {1,3}", None),
        ("{.python filename=x.py}", "x.py"),
        ("rust,ignore", None),
    ],
)
def test_the_words_after_a_fence_may_have_a_path(info: str, path: str | None) -> None:
    assert paths.find_path_in_info(info) == path


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("# src/a.py", "src/a.py"),
        ("// File: a.js", "a.js"),
        ("<!-- x/index.html -->", "x/index.html"),
        ("/* a.css */", "a.css"),
        ("# A heading", None),
        ("x = 1  # a.py", None),
        ("#!/bin/sh", None),
    ],
)
def test_a_comment_may_have_a_path(line: str, path: str | None) -> None:
    assert paths.find_path_in_comment(line) == path
