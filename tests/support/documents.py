"""The examples in the repository's documents: found by their fences, run, and compared with what comes out.

A fence says what to do with its block: ```` ```json ```` followed by

- `run`: request lines for one process, of which the next block, `output`, holds the reply lines,
- `request`: request lines, held against the schema and against what the program takes,
- `reply`: reply lines, held against the schema,
- a name of `$defs` in the schema: one such object a line;

and `toml config`, `console` (commands after `$ `, what they print below), `js host`, and blocks with
`path=…`, which are files of a worked example.

`python -m tests.support.documents` writes what comes out into every `output` block: read it before you commit.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (
    "README.md",
    "CONFIGURATION.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "protocol/PROTOCOL.md",
)

SECONDS = 30
"""How long a command of a document may take."""

_FENCE = re.compile(r"^```(?P<info>[^\n`]+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)

_VOLATILE = frozenset({"fetched_at", "hint", "ms", "priced_at", "providers", "version", "wires"})
"""Fields whose values change from run to run, or with every new provider; so do all that end in `_ms`."""


class Block(NamedTuple):
    """One fenced block."""

    document: str
    line: int
    info: str
    text: str

    @property
    def language(self) -> str:
        return self.info.split()[0]

    @property
    def mark(self) -> str:
        """What follows the language."""
        return self.info.partition(" ")[2]

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def prose(document: str) -> str:
    """Return *document* without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", read(document), flags=re.MULTILINE | re.DOTALL)


def headings(document: str) -> set[str]:
    """Return the anchors of *document*."""
    titles = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def read(document: str) -> str:
    """Return the text of *document*."""
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str) -> list[Block]:
    """Return the fenced blocks of *document*, in order."""
    text = read(document)
    return [
        Block(document, text.count("\n", 0, match.start()) + 1, match["info"].strip(), match["text"])
        for match in _FENCE.finditer(text)
    ]


def all_blocks(language: str, mark: str | None = None) -> list[Block]:
    """Return the blocks of all documents in *language*, with that *mark* if one is given."""
    found = (block for document in DOCUMENTS for block in blocks(document))
    return [block for block in found if block.language == language and mark in (None, block.mark)]


def pairs(language: str, mark: str) -> list[tuple[Block, Block]]:
    """Return each block with that *mark* and the block after it, which holds what comes out."""
    found = []
    for document in DOCUMENTS:
        inside = blocks(document)
        found += [
            (block, after) for block, after in pairwise(inside) if (block.language, block.mark) == (language, mark)
        ]
    return found


def environment(home: Path) -> dict[str, str]:
    """Return an environment that has `sidecar` and the test's Python on its path, and nothing of the user's."""
    programs = home / "bin"
    programs.mkdir(exist_ok=True)
    for name, arguments in (("sidecar", "-m sidecar"), ("python", "")):
        script = programs / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ.get("PATH", "")])
    return {"HOME": str(home), "PATH": path, "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}


def run(lines: str, home: Path) -> str:
    """Return what a process writes to stdout when it is given *lines*; it must leave with 0 and a silent stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "sidecar"],
        input=lines.encode(),
        cwd=home,
        env=environment(home),
        capture_output=True,
        check=True,
        timeout=SECONDS,
    )
    assert not done.stderr, done.stderr.decode()
    return done.stdout.decode()


def sh(command: str, home: Path, cwd: Path | None = None) -> str:
    """Return what the shell *command* prints, run in *cwd*."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=cwd or home,
        env=environment(home) | ({"PYTHONPATH": str(cwd)} if cwd else {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    return done.stdout


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block, its continued lines joined, and what stands below it."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, output = "", part
        while True:
            line, _, output = output.partition("\n")
            command += line + "\n"
            if not line.endswith("\\"):
                break
        yield command, output


def settled(text: str) -> list[Any]:
    """Return the JSON lines of *text* without what changes from run to run, in the order of the ids."""
    return sorted((_settled(json.loads(line)) for line in text.splitlines()), key=lambda line: str(line.get("id", "")))


def _settled(value: Any) -> Any:
    if isinstance(value, list):
        return [_settled(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: type(each).__name__ if key in _VOLATILE or key.endswith("_ms") else _settled(each)
        for key, each in value.items()
    }


def rewrite() -> None:
    """Write into every `output` block what the block before it gives, where that has changed."""
    for before, after in reversed(pairs("json", "run")):
        with tempfile.TemporaryDirectory() as home:
            output = run(before.text, Path(home))
        if settled(output) != settled(after.text):
            lines = read(after.document).splitlines(keepends=True)
            lines[after.line : after.line + len(after.lines)] = output
            (ROOT / after.document).write_text("".join(lines), encoding="utf-8")
            sys.stdout.write(f"{after}\n")


if __name__ == "__main__":
    rewrite()
