"""The packages from top to bottom: every import, lazy or for types alone, goes to the same or a lower one."""

import graphlib

from tests.support.source import Use, files, imports, our_file, report

LAYERS = (
    "sidecar/__main__.py",
    "sidecar/cli",
    "sidecar/server",
    "sidecar/generation",
    "sidecar/upstream",
    "sidecar/usage",
    "sidecar/auth",
    "sidecar/providers",
    "sidecar/config",
    "sidecar/catalogue",
    "sidecar/wires",
    "sidecar/formats",
    "sidecar/codecs",
    "sidecar/tokens",
    "sidecar/core",
    "protocol",
)

KNOWN = {
    ("sidecar/upstream/token_counts.py", "sidecar/generation/run.py"),
}
"""Imports that still go up: each is to be removed."""

MOST_MODULES_BESIDE_PACKAGES = 3
MOST_MODULES = 14


def _layer(file: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if file == layer or file.startswith(f"{layer}/"))


def _edges() -> list[tuple[Use, str]]:
    found = [
        (use, target)
        for file in files("sidecar", "protocol")
        if file != "sidecar/__init__.py"
        for use in imports(file)
        if (target := our_file(use.what)) and target not in (file, "sidecar/__init__.py")
    ]
    assert len(found) > 300
    return found


def test_every_import_goes_to_the_same_or_a_lower_package() -> None:
    wrong = [use for use, target in _edges() if _layer(target) < _layer(use.file) and (use.file, target) not in KNOWN]
    assert not wrong, report(wrong)


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Importing a package's own `__init__` is no circle: it holds nothing that its modules need."""
    graph: dict[str, set[str]] = {}
    for use, target in _edges():
        if not target.endswith("/__init__.py"):
            graph.setdefault(use.file, set()).add(target)
    # Raises CycleError, which names the circle.
    assert list(graphlib.TopologicalSorter(graph).static_order())


def test_packages_are_of_a_size_that_a_reader_takes_in() -> None:
    counts: dict[str, int] = {}
    for file in files("sidecar"):
        folder = file.rpartition("/")[0]
        counts[folder] = counts.get(folder, 0) + (not file.endswith("/__init__.py"))
    assert counts.pop("sidecar") <= MOST_MODULES_BESIDE_PACKAGES
    assert not {folder: count for folder, count in counts.items() if count > MOST_MODULES}
