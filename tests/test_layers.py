"""The packages from top to bottom: every import, lazy or for types alone, goes to the same or a lower one."""

import ast
import graphlib

import pytest

from tests.support.source import ROOT, Use, files, imports, nodes_of, our_file, report, tree_of

pytestmark = pytest.mark.long

LAYERS = (
    "sidecar/__main__.py",
    "sidecar/kit",
    "sidecar/cli",
    "sidecar/server",
    "sidecar/branches",
    "sidecar/completion",
    "sidecar/generation",
    "sidecar/window",
    "sidecar/tasks",
    "sidecar/routing",
    "sidecar/reuse",
    "sidecar/outputs",
    "sidecar/retrieval",
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
    "sidecar/http",
    "sidecar/core",
    "protocol",
)

MOST_MODULES_BESIDE_PACKAGES = 3
MOST_MODULES = 14
FEWEST_MODULES = 4
"""Fewer are no package; a package within counts as one."""


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
    wrong = [use for use, target in _edges() if _layer(target) < _layer(use.file)]
    assert not wrong, report(wrong)


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Importing a package's own `__init__` is no circle: it holds nothing that its modules need."""
    graph: dict[str, set[str]] = {}
    for use, target in _edges():
        if not target.endswith("/__init__.py"):
            graph.setdefault(use.file, set()).add(target)
    # Raises CycleError, which names the circle.
    assert list(graphlib.TopologicalSorter(graph).static_order())


def test_only_the_server_and_the_command_line_know_the_app() -> None:
    """Everything below is given what it needs of it, so that a test can give it something else."""
    knowing = [use for use, target in _edges() if target == "sidecar/server/app.py"]
    assert len(knowing) > 5
    wrong = [use for use in knowing if not use.file.startswith(("sidecar/server/", "sidecar/cli/"))]
    assert not wrong, report(wrong)


def test_the_kit_needs_the_protocol_and_nothing_needs_the_kit() -> None:
    """It tests hosts against what is written, not against what the program happens to do."""
    needed = {(use, target) for use, target in _edges() if use.file.startswith("sidecar/kit/")}
    wrong = [use for use, target in needed if not target.startswith(("protocol/", "sidecar/core/", "sidecar/kit/"))]
    wrong += [use for use, to in _edges() if to.startswith("sidecar/kit/") and not use.file.startswith("sidecar/kit/")]
    assert len(needed) > 10
    assert not wrong, report(wrong)


SENDERS = {
    "sidecar/completion/asking.py",
    "sidecar/generation/attempt.py",
    "sidecar/generation/background_responses.py",
    "sidecar/upstream/documents.py",
    "sidecar/upstream/exchange.py",
}
"""Each sends within an attempt of `upstream.ask`, or goes on with an answer that such an attempt has begun."""


ASKING = ("server", "completion", "generation", "upstream", "auth", "usage")


def test_all_questions_are_asked_by_one_loop() -> None:
    """Requests are sent only by its attempts, and only the gates beside it know the rules of retries."""
    sent = [
        Use(file, node.lineno, ast.unparse(node.func))
        for file in files(*(f"sidecar/{name}" for name in ASKING))
        for node in nodes_of(file)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("http.send")
    ]
    assert {use.file for use in sent} == SENDERS, report(sent)
    knowing = {use.file for use, target in _edges() if target == "sidecar/upstream/gates/retry.py"}
    assert {file for file in knowing if not file.startswith("sidecar/upstream/gates/")} == {"sidecar/upstream/ask.py"}


def test_a_package_itself_holds_no_logic() -> None:
    """Its `__init__.py` has a docstring, imports and `__all__`: whoever looks for code looks into its modules."""
    wrong = [
        Use(file, node.lineno, type(node).__name__)
        for file in files("sidecar", "protocol")
        if file.endswith("/__init__.py") and file != "sidecar/__init__.py"
        for node in tree_of(file).body
        if not isinstance(node, (ast.Import, ast.ImportFrom)) and not _is_docstring(node) and not _is_list(node)
    ]
    assert not wrong, report(wrong)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_list(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]


def test_packages_are_of_a_size_that_a_reader_takes_in() -> None:
    modules: dict[str, int] = {}
    for file in files("sidecar"):
        folder = file.rpartition("/")[0]
        modules[folder] = modules.get(folder, 0) + (not file.endswith("/__init__.py"))
    within = {folder: sum(each.rpartition("/")[0] == folder for each in modules) for folder in modules}
    assert modules.pop("sidecar") <= MOST_MODULES_BESIDE_PACKAGES
    assert not {folder: count for folder, count in modules.items() if count > MOST_MODULES}
    assert not {folder for folder, count in modules.items() if count + within[folder] < FEWEST_MODULES}


PROCESSES = ("tests/bench/", "tests/e2e/", "tests/live/", "tests/peers/")
"""Folders of tests that start processes."""

THROUGH_THE_APP = {
    "sidecar/auth/logins/imported.py": "tests/auth/test_imported.py",
    "sidecar/auth/status.py": "tests/auth/test_status.py",
    "sidecar/branches/branch.py": "tests/branches/test_run.py",
    "sidecar/branches/run.py": "tests/branches/test_run.py",
    "sidecar/generation/hedge.py": "tests/generation/test_hedge.py",
    "sidecar/generation/pipeline.py": "tests/generation/test_faults.py",
    "sidecar/generation/tool_loop.py": "tests/generation/test_tool_loop.py",
    "sidecar/http/direct.py": "tests/http/test_clients_agree.py",
    "sidecar/http/proxied.py": "tests/http/test_clients_agree.py",
    **dict.fromkeys(
        (
            "sidecar/retrieval/asking.py",
            "sidecar/retrieval/delivery.py",
            "sidecar/retrieval/embed.py",
            "sidecar/retrieval/question.py",
            "sidecar/retrieval/sums.py",
            "sidecar/retrieval/target.py",
            "sidecar/retrieval/texts.py",
        ),
        "tests/retrieval/test_embed.py",
    ),
    "sidecar/retrieval/rerank.py": "tests/retrieval/test_rerank.py",
    "sidecar/retrieval/rerank_cost.py": "tests/retrieval/test_rerank.py",
    "sidecar/retrieval/rerank_target.py": "tests/retrieval/test_rerank.py",
    "sidecar/upstream/token_counts.py": "tests/upstream/test_token_counts.py",
    "sidecar/usage/attempts.py": "tests/usage/test_ledger_rows.py",
    "sidecar/window/limits.py": "tests/window/test_shorten.py",
    "sidecar/window/shorten.py": "tests/window/test_shorten.py",
}
"""Module that no test imports, since its requests lead there → the test, in process, that has such requests."""


def test_every_module_has_a_test_that_starts_no_process() -> None:
    """It imports the module, or one of the same package that does so."""
    todo = [file for file in files("tests") if not file.startswith(PROCESSES) and "/test_" in file]
    assert set(THROUGH_THE_APP.values()) <= set(todo)
    reached = set(todo)
    while todo:
        file = todo.pop()
        found = {_file_of(use.what) for use in imports(file)} - reached - {""}
        found = {each for each in found if not file.startswith("sidecar/") or file.split("/")[1] == each.split("/")[1]}
        todo += found
        reached |= found
    modules = {file for file in files("protocol", "sidecar") if not file.endswith("/__init__.py")}
    # What a host copies is about processes.
    modules -= set(files("protocol/clients"))
    assert sorted(modules - reached) == sorted(THROUGH_THE_APP)


def _file_of(name: str) -> str:
    """Return the file of the module that the dotted *name* is, or is in; nothing for another's."""
    parts = name.split(".")
    stems = ["/".join(parts[:length]) for length in (len(parts), len(parts) - 1)]
    found = (f"{stem}{end}" for stem in stems for end in (".py", "/__init__.py"))
    return next((file for file in found if (ROOT / file).is_file()), "")
