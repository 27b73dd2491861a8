"""What the documents refer to is there: links, files, folders, modules, tests."""

import re
from functools import cache
from pathlib import Path

import pytest

from tests.support import documents
from tests.support.documents import ROOT

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "protocol/*.md", "protocol/clients/**/README.md", "tests/**/README.md")
    for path in ROOT.glob(pattern)
)


@cache
def list_paths() -> set[str]:
    """Return every file and folder, a folder with a slash at its end."""
    folders = [ROOT / name for name in ("examples", "fixtures", "protocol", "sidecar", "tests")]
    paths = [*folders, *(path for folder in folders for path in folder.rglob("*"))]
    below = {path.relative_to(ROOT).as_posix() + "/" * path.is_dir() for path in paths}
    return below | {path.name for path in ROOT.iterdir()}


NOT_OURS = {
    "apps.json": "a login of Copilot's own",
    "config.toml": "the user's configuration",
    "credentials.json": "the user's store, or a login of another program",
    "geo.py": "a file of the user's",
    "hosts.json": "a login of Copilot's own",
    "tasks.json": "the user's tasks",
}
"""Files that the documents name and the repository has not."""

_FILE = r"[\w-]+\.(?:json|lock|md|ndjson|py|sse|toml)"


@pytest.mark.long
@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str) -> None:
    lost = []
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", documents.prose(document)):
        path, _, anchor = target.partition("#")
        file = ((ROOT / document).parent / path).resolve() if path else ROOT / document
        if not file.exists() or (anchor and anchor not in documents.headings(file.relative_to(ROOT).as_posix())):
            lost.append(target)
    assert not lost


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_and_every_test_that_is_named_exists(document: str) -> None:
    named = re.findall(r"`((?:protocol|sidecar|tests|fixtures)/[\w/.-]*)(?:::(\w+))?`", documents.prose(document))
    lost = [path for path, _ in named if not (ROOT / path).exists()]
    lost += [
        f"{path}::{test}"
        for path, test in named
        if test and not re.search(rf"^(?:async )?def {test}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert not lost


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_and_folder_that_is_named_in_short_exists(document: str) -> None:
    """In a row of a table that begins with a folder of the program, bare names are of files within it."""
    named = re.compile(rf"`((?:[\w-]+/)*{_FILE}|(?:[\w-]+/)+)(?:::\w+)?`")
    lost = []
    for line in documents.prose(document).splitlines():
        row = re.match(r"\| `([\w-]+/)` \|", line)
        for name in named.findall(line):
            if name.endswith("/") and not row:
                # It may be one of the user's.
                continue
            within = f"sidecar/{row[1]}" if row and "/" not in name else ""
            known = any(path.startswith(within) and f"/{path}".endswith(f"/{name}") for path in list_paths())
            lost += [] if known or Path(name).name in NOT_OURS else [name]
    assert not lost


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_module_that_is_named_with_dots_exists(document: str) -> None:
    for name in re.findall(r"(?:`|-m )((?:protocol|sidecar|tests)(?:\.\w+)+)", documents.prose(document)):
        path = name.replace(".", "/")
        # The last part may be something that the module has.
        assert {f"{path}.py", f"{path}/", f"{path.rpartition('/')[0]}.py"} & list_paths(), name


def test_the_architecture_maps_every_module() -> None:
    """Ours: a module that the map does not know is one that a newcomer does not find."""
    there = {path.relative_to(ROOT / "sidecar").as_posix() for path in (ROOT / "sidecar").glob("*.py")}
    there |= {f"{path.parent.name}/" for path in (ROOT / "sidecar").glob("*/__init__.py")}
    text = documents.read("ARCHITECTURE.md")
    assert not sorted(name for name in there - {"__init__.py"} if f"{name}`" not in text)
