"""The shape of the source: names that may not occur, and sizes."""

import ast
import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from protocol.emitters.python import PATH as GENERATED
from tests.support.source import ROOT, Use, files, nodes_of, program, report, strings_and_names

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


@pytest.mark.long
def test_no_code_names_a_provider() -> None:
    """Invariant 7: a name occurs in data, and in the wire or scheme whose file is called after it.

    The names of wires and schemes are no names of providers, and `replay` is a part of the program.
    """
    table = tomllib.loads((ROOT / "sidecar/catalogue/providers.toml").read_text(encoding="utf-8"))
    known = msgspec.json.decode((ROOT / "sidecar/catalogue/models.json").read_bytes(), type=dict[str, msgspec.Raw])
    names = {*table, *known, *(alias for row in table.values() for alias in row.get("aliases", ()))} - {"replay"}
    modules = sorted(map(_called, files("sidecar/wires", "sidecar/auth")), key=len, reverse=True)
    # A module that is called like the provider itself is no reason to let the name pass.
    module = re.compile("|".join(stem for stem in modules if stem not in names))
    word = re.compile(rf"(?<![a-z0-9])(?:{'|'.join(map(re.escape, sorted(names)))})(?![a-z0-9])")
    wrong = [
        Use(use.file, use.line, f"{found[0]} in {use.what[:60]!r}")
        for file in program()
        for use in strings_and_names(file)
        if (found := word.search(module.sub("", use.what.lower()))) and not _is_its_own(file, found[0])
    ]
    assert {"anthropic", "openai"} <= names
    assert not wrong, report(wrong)


def _is_its_own(file: str, name: str) -> bool:
    # The tables of wires, of counters and of schemes name their modules.
    if file.startswith("sidecar/wires/") and file.endswith("/registry.py"):
        return name.replace("-", "_") in {Path(module).stem for module in files("sidecar/wires")}
    if file == "sidecar/auth/registry.py":
        return name.replace("-", "_") in {Path(module).stem for module in files("sidecar/auth/schemes")}
    return file.startswith(("sidecar/wires/", "sidecar/auth/")) and name.replace("-", "_") in _called(file)


def _called(file: str) -> str:
    """Return the name of the wire or scheme that *file* is, or is a part of."""
    parts = Path(file).with_suffix("").parts[2:]
    groups = ("completions", "counts", "embeddings", "rerank", "schemes")
    return parts[1] if parts[0] in groups and len(parts) > 1 else parts[0]


@pytest.mark.long
def test_files_and_functions_are_short() -> None:
    """Ours: a file is read in one sitting, a function on one screen."""
    everything = [file for file in files("protocol", "sidecar", "tests") if file != f"protocol/{GENERATED}"]
    lengths = {file: len((ROOT / file).read_bytes().splitlines()) for file in everything}
    wrong = [Use(file, 1, f"{lines} lines") for file, lines in lengths.items() if lines >= MAX_FILE_LINES]
    for file in everything:
        for node in nodes_of(file):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                wrong += [Use(file, node.lineno, f"{node.name}: {lines} lines")] if lines > MAX_FUNCTION_LINES else []
    assert not wrong, report(wrong)
