"""Who may import the inside of a wire: the wire itself, its counter, and a wire that builds on it."""

import ast

import pytest

from sidecar.wires import registry
from tests.support.source import Use, files, imports, our_file, report, tree_of

pytestmark = pytest.mark.long

BUILDS_ON = {
    # Workers AI answers in its own dialect or in that of Chat Completions.
    "cloudflare": ("openai_chat",),
}
"""Wires that import another wire, and which."""

BESIDE_WIRES = {"__init__", "registry", "shared", "completions", "counts", "embeddings", "rerank"}

COUNTS = "sidecar/wires/counts/"

COUNTS_BY = {"xai": "openai_responses"}
"""Counters that are not named after the wire whose requests or errors they share, and that wire."""


EMBEDDINGS = "sidecar/wires/embeddings/"

EMBEDDINGS_BY = {
    **dict.fromkeys(("usual", "cohere"), "openai_chat"),
    **dict.fromkeys(("gemini_content", "gemini_predictions"), "gemini"),
    **dict.fromkeys(("nova", "titan"), "bedrock_converse"),
}
"""Wires for vectors that are not named after the wire whose errors they share, and that wire."""

WIRES = frozenset(registry.list_names())


def wire_of(file: str) -> str | None:
    """Return the wire that *file* is, or is a part of."""
    name = file.removeprefix("sidecar/wires/").partition("/")[0].removesuffix(".py")
    return name if file.startswith("sidecar/wires/") and name in WIRES else None


def uses_of_wires(*folders: str) -> list[tuple[Use, str]]:
    """Return every import of a wire or its inside by a file below *folders*, with that wire."""
    return [
        (use, wire)
        for file in files(*folders)
        for use in imports(file)
        if (imported := our_file(use.what)) and (wire := wire_of(imported))
    ]


def test_every_module_beside_the_shared_ones_is_a_wire_of_the_registry() -> None:
    names = {file.removeprefix("sidecar/wires/").partition("/")[0] for file in files("sidecar/wires")}
    assert {name.removesuffix(".py") for name in names} - BESIDE_WIRES == WIRES


def test_a_wire_imports_no_other_wire_but_the_one_that_it_builds_on() -> None:
    uses = [(use, wire) for use, wire in uses_of_wires("sidecar/wires") if wire_of(use.file)]
    wrong = [use for use, wire in uses if wire not in (own := wire_of(use.file), *BUILDS_ON.get(own or "", ()))]
    assert not wrong, report(wrong)
    found = {(wire_of(use.file), wire) for use, wire in uses if wire != wire_of(use.file)}
    assert found == {(wire, base) for wire, bases in BUILDS_ON.items() for base in bases}


def test_a_counter_imports_no_wire_but_its_own() -> None:
    wrong = [
        use
        for use, wire in uses_of_wires(COUNTS)
        if wire != COUNTS_BY.get(name := use.file.removeprefix(COUNTS).removesuffix(".py"), name)
    ]
    assert not wrong, report(wrong)


def test_a_wire_for_vectors_imports_no_wire_but_the_one_whose_errors_it_shares() -> None:
    uses = uses_of_wires(EMBEDDINGS)
    wrong = [
        use
        for use, wire in uses
        if wire != EMBEDDINGS_BY.get(name := use.file.removeprefix(EMBEDDINGS).removesuffix(".py"), name)
    ]
    assert len(uses) > 5
    assert not wrong, report(wrong)


def test_what_wires_share_imports_no_wire() -> None:
    wrong = [use for use, _ in uses_of_wires("sidecar/wires/shared")]
    assert not wrong, report(wrong)


def test_nobody_else_imports_a_wire() -> None:
    """The rest of the program asks the registry for a wire by name."""
    wrong = [use for use, _ in uses_of_wires("sidecar") if not use.file.startswith("sidecar/wires/")]
    assert not wrong, report(wrong)


def test_the_package_of_a_wire_holds_imports_and_no_logic() -> None:
    packages = [file for file in files("sidecar/wires", "sidecar/codecs", "sidecar/tokens") if "__init__" in file]
    wrong = [
        Use(file, node.lineno, ast.unparse(node))
        for file in packages
        for node in tree_of(file).body[1:]
        if not isinstance(node, ast.ImportFrom) and not ast.unparse(node).startswith("__all__ =")
    ]
    assert len(packages) > 8
    assert not wrong, report(wrong)
