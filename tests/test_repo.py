"""What must be true of the repository: the locks, the version, what a wheel holds, where no path may lead."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import sidecar
from sidecar.catalogue.provider_rows import read_providers
from tests.support.locks import ROOT, read_pins

PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = ("requirements.lock", "requirements-dev.lock")

MACHINES = (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "x86_64"), ("darwin", "arm64"), ("win32", "AMD64"))
PYTHONS = ("3.11", "3.12", "3.13", "3.14")

ADDRESS = re.compile(r"://|\bfile:|^\s*-(?!-hash=)|\s@\s|[\w.~]/[\w.]|\\\w", re.MULTILINE)
"""A URL, an option of pip, a direct reference or a path."""

GENERATED = re.compile(r"\.|(?:build|dist|__pycache__)$")
"""Folders that tools make, and the tools' own."""

MACHINE_PATH = re.compile(
    r"""(?<![\w.~/+=-])  # at the start of a path, not within an address or base64
    (?: /(?:work|root)/\w | /(?:home|Users)/(?!(?:you|me|user|ada|alice)\b)\w )""",
    re.VERBOSE,
)
"""A path that exists on somebody's machine; `/home/you` is nobody's."""


def environments() -> Iterator[dict[str, str]]:
    """Yield the machines that the locks are for, as the markers of a requirement see them."""
    for (system, machine), python in product(MACHINES, PYTHONS):
        yield {
            "sys_platform": system,
            "platform_machine": machine,
            "python_version": python,
            "python_full_version": f"{python}.0",
            "platform_python_implementation": "CPython",
        }


def text_files() -> Iterator[tuple[Path, str]]:
    """Yield every text file of the repository with its text; hidden folders other than `.ci` are a tool's own."""
    for path in sorted(ROOT.rglob("*")):
        folders = path.relative_to(ROOT).parts[:-1]
        # In a worktree `.git` is a file, and holds a path of the machine.
        ours = path.name != ".git" and all(each == ".ci" or not GENERATED.match(each) for each in folders)
        if ours and path.is_file() and b"\0" not in (data := path.read_bytes()):
            yield path, data.decode("utf-8", "replace")


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address_no_option_and_no_path(lock: str) -> None:
    assert not ADDRESS.findall((ROOT / lock).read_text(encoding="utf-8"))


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_every_package_by_hash_once_for_every_machine(lock: str) -> None:
    locked = read_pins(lock)
    assert len(locked) > 20
    for name, environment in product(locked, environments()):
        assert sum(pin.applies(environment) for pin in locked[name]) <= 1, f"{lock}: {name} twice for {environment}"


@pytest.mark.parametrize(
    ("lock", "declared"),
    [
        (LOCKS[0], PYPROJECT["project"]["dependencies"]),
        (LOCKS[1], PYPROJECT["project"]["dependencies"]),
        (LOCKS[1], PYPROJECT["dependency-groups"]["dev"]),
        (LOCKS[1], PYPROJECT["build-system"]["requires"]),
    ],
    ids=["runtime", "runtime in dev", "dev", "build"],
)
def test_what_pyproject_asks_for_is_locked_in_a_version_that_it_takes(lock: str, declared: list[str]) -> None:
    locked = read_pins(lock)
    for requirement, environment in product(map(Requirement, declared), environments()):
        if requirement.marker is not None and not requirement.marker.evaluate(environment):
            continue
        versions = [p.version for p in locked.get(canonicalize_name(requirement.name), ()) if p.applies(environment)]
        assert versions, f"{requirement.name} is not in {lock}: `make lock`"
        assert requirement.specifier.contains(versions[0]), f"{lock} has {versions[0]} for {requirement}: `make lock`"


@pytest.mark.long
def test_what_the_program_imports_it_declares() -> None:
    """Ours: a package that happens to come with another may stop doing so."""
    files = (file for folder in ("protocol", "sidecar") for file in (ROOT / folder).rglob("*.py"))
    program = (file for file in files if not file.is_relative_to(ROOT / "protocol/clients"))
    imported = {(file.relative_to(ROOT), name) for file in program for name in _imports(file)}
    optional = (each for extra in PYPROJECT["project"]["optional-dependencies"].values() for each in extra)
    requirements = (*PYPROJECT["project"]["dependencies"], *optional)
    declared = {canonicalize_name(Requirement(each).name) for each in requirements}
    distributions = importlib.metadata.packages_distributions()
    missing = [
        f"{file}: {name}"
        for file, name in sorted(imported)
        if name not in sys.stdlib_module_names
        and name not in {"protocol", "sidecar"}
        and declared.isdisjoint(map(canonicalize_name, distributions.get(name, ())))
    ]
    assert not missing


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def test_both_locks_agree() -> None:
    development = read_pins(LOCKS[1])
    assert {name: development.get(name) for name in read_pins(LOCKS[0])} == read_pins(LOCKS[0])


def test_the_version_of_the_package_is_that_of_the_project() -> None:
    assert sidecar.__version__ == PYPROJECT["project"]["version"]


@pytest.mark.spawns
def test_a_wheel_holds_the_packages_and_the_exchanges_with_names(tmp_path: Path) -> None:
    """Ours: the catalogue, the schema and the recorded exchanges are of no use if they stay behind in the checkout."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    names = {name for folder in ("protocol", "sidecar") for name in _list_files(folder)}
    excluded = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["exclude"]
    tools = {each: {name for name in names if name == each or name.startswith(f"{each}/")} for each in excluded}
    assert all(tools.values())
    names -= set().union(*tools.values())
    row = read_providers()["replay"]
    cases = (*row.cases.values(), *row.completion.cases.values())
    played = {each for case in cases for each in (case.exchange, case.after_results) if each}
    exchanges = {f"sidecar/{name}" for each in played for name in _list_files(f"fixtures/{each}")}
    assert len(exchanges) > 50
    (manual,) = {name for name in held if name.endswith(".data/data/share/man/man1/sidecar.1")}
    parsed = {f"sidecar/catalogue/{name}.parsed.json" for name in ("gateways", "providers")}
    assert held - {manual} == {f"sidecar_stdio/{name}" for name in names | exchanges | parsed | {"__init__.py"}}
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        described = archive.read(metadata).decode()
        assert [name for name in archive.namelist() if name.endswith("/licenses/LICENSE")]
    assert "License-Expression: MIT" in described
    assert "stdin and writes one JSON reply per line" in described


def _list_files(folder: str) -> set[str]:
    files = (file for file in (ROOT / folder).rglob("*") if file.is_file())
    return {f.relative_to(ROOT).as_posix() for f in files if not re.search(r"__pycache__|/\.|\.parsed\.", str(f))}


def test_nothing_that_is_installed_imports_a_maintainers_tool() -> None:
    tools = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["exclude"]
    modules = [re.escape(each.removesuffix(".py").replace("/", ".")) for each in tools]
    split = [re.sub(r"\\\.(\w+)$", r" import (?:.*\\b)?\1", each) for each in modules]
    named = re.compile(rf"^\s*(?:import|from) (?:{'|'.join([*modules, *split])})\b", re.MULTILINE)
    assert named.search("from sidecar.catalogue import build_rules, models")
    files = [file for folder in ("protocol", "sidecar") for file in (ROOT / folder).rglob("*.py")]
    installed = [file for file in files if not file.relative_to(ROOT).as_posix().startswith(tuple(tools))]
    assert not [str(file) for file in installed if named.search(file.read_text(encoding="utf-8"))]


@pytest.mark.long
def test_no_file_names_a_path_of_somebodys_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path, text in text_files()
        # Plain searches take a tenth of the time.
        if any(folder in text for folder in ("/work/", "/root/", "/home/", "/Users/"))
        for match in MACHINE_PATH.finditer(text)
    ]
    assert not found


@pytest.mark.parametrize(
    ("before", "folder", "after", "is_one"),
    [
        ("see ", "root", "x", True),
        ("'", "work", "main'", True),
        ("", "Users", "kim/x", True),
        ("", "home", "you/.config", False),
        ("https://host.example", "home", "page", False),
        ("a relative ./", "work", "main", False),
    ],
)
def test_a_path_is_told_from_an_address(before: str, folder: str, after: str, is_one: bool) -> None:
    assert bool(MACHINE_PATH.search(f"{before}/{folder}/{after}")) is is_one


def test_the_ci_script_can_be_run_and_its_targets_exist() -> None:
    script = ROOT / ".ci" / "run"
    targets = re.findall(r"^make (\w+)$", script.read_text(encoding="utf-8"), re.MULTILINE)
    assert script.stat().st_mode & 0o111
    assert targets == ["check", "peers", "clients", "test"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{target}: .*## ", makefile, re.MULTILINE) for target in targets)
