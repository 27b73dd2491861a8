"""The source of the repository as syntax trees: what each file imports, calls and names, and where."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]

BUILD = ("sidecar/catalogue/build.py", "sidecar/catalogue/build_rules.py")
"""The script that makes the table of models: no part of the program, and made of providers' names."""


class Use(NamedTuple):
    """Something that stands at a line of a file."""

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}"


@cache
def tree_of(file: str) -> ast.Module:
    """Return the syntax tree of *file*, a path below the root."""
    return ast.parse((ROOT / file).read_bytes())


@cache
def _find_files(folder: str) -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.py"))


def files(*folders: str) -> list[str]:
    """Return the Python files below *folders*."""
    return sorted(file for folder in folders for file in _find_files(folder))


KIT = "sidecar/kit/"
"""The conformance kit: a program of its own, which starts processes, prints, and is not loaded by the other."""


def program() -> list[str]:
    """Return the files of the program itself."""
    return [file for file in files("sidecar") if file not in BUILD and not file.startswith(KIT)]


@cache
def nodes_of(file: str) -> list[ast.AST]:
    """Return every node of the syntax tree of *file*."""
    return [*ast.walk(tree_of(file))]


@cache
def imports(file: str) -> tuple[Use, ...]:
    """Return the dotted name of everything that *file* imports, wherever in the file."""
    return tuple(_list_imports(file))


def _list_imports(file: str) -> Iterator[Use]:
    for node in nodes_of(file):
        if isinstance(node, ast.Import):
            yield from (Use(file, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (Use(file, node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def within(name: str, packages: Iterable[str]) -> bool:
    """Return whether the dotted *name* is one of *packages* or something in it."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@cache
def attributes(file: str) -> tuple[Use, ...]:
    """Return every attribute access of a plain name, as `os.read`, and every call of a plain name, as `print`."""
    return tuple(_list_attributes(file))


def _list_attributes(file: str) -> Iterator[Use]:
    for node in nodes_of(file):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield Use(file, node.lineno, f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield Use(file, node.lineno, node.func.id)


def strings_and_names(file: str) -> Iterator[Use]:
    """Yield every string that is no docstring, and every identifier."""
    prose = {id(node.value) for node in nodes_of(file) if isinstance(node, ast.Expr)}
    for node in nodes_of(file):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield Use(file, line, node.value)
        for field in ("id", "attr", "name", "arg", "asname", "module"):
            if isinstance(name := getattr(node, field, None), str):
                yield Use(file, line, name)


def report(uses: Iterable[Use]) -> str:
    return "\n" + "\n".join(map(str, uses))


def our_file(name: str) -> str | None:
    """Return the file of `sidecar` that importing the dotted *name* runs, or None for what is not ours."""
    parts = name.split(".")
    if parts[0] != "sidecar":
        return None
    for length in (len(parts), len(parts) - 1):
        stem = "/".join(parts[:length])
        for file in (f"{stem}.py", f"{stem}/__init__.py"):
            if (ROOT / file).is_file():
                return file
    return None
