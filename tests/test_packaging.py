"""The recipes for installers, and the parts of the build that need no build."""

import importlib.util
import json
import platform
import re
import shutil
import signal
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.locks import ROOT

PACKAGING = ROOT / "packaging"
RECIPES = ("mason/package.yaml", "npm/package.json", "npm/platform/package.json", "homebrew/sidecar.rb")

FILLED_IN = re.compile(r"@[A-Z][A-Z0-9_]*@")
ARCHIVE = re.compile(r"sidecar-@VERSION@-(\w+)-(\w+)\.(?:tar\.xz|zip)")

SYSTEMS = {"linux": "linux", "macos": "darwin", "windows": "win32"}
MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
"""What the archives are called → what Node calls it."""

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node")


def load_build() -> ModuleType:
    """Return the script `packaging/bundle/build.py` as a module."""
    spec = importlib.util.spec_from_file_location("build", PACKAGING / "bundle/build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(recipe: str) -> str:
    return (PACKAGING / recipe).read_text(encoding="utf-8")


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_a_release_fills_in_is_known(recipe: str) -> None:
    machines = {"LINUX_AARCH64", "LINUX_X86_64", "MACOS_ARM64", "MACOS_X86_64"}
    known = {"@VERSION@", "@URL@", "@OS@", "@CPU@"} | {f"@SHA256_{name}@" for name in machines}
    found = set(FILLED_IN.findall(read(recipe)))
    assert "@VERSION@" in found
    assert found <= known


def test_the_recipes_name_the_same_platforms() -> None:
    mason = {(SYSTEMS[system], MACHINES[machine]) for system, machine in ARCHIVE.findall(read("mason/package.yaml"))}
    homebrew = {
        (SYSTEMS[system], MACHINES[machine]) for system, machine in ARCHIVE.findall(read("homebrew/sidecar.rb"))
    }
    wrapper = json.loads(read("npm/package.json"))
    npm = {tuple(name.removeprefix("sidecar-stdio-").split("-")) for name in wrapper["optionalDependencies"]}
    assert mason == npm
    assert len(npm) == 5
    assert homebrew == {each for each in npm if each[0] != "win32"}


@pytest.mark.parametrize(
    ("system", "machine", "name"),
    [
        ("Linux", "x86_64", "linux-x86_64"),
        ("Linux", "aarch64", "linux-aarch64"),
        ("Darwin", "arm64", "macos-arm64"),
        ("Windows", "AMD64", "windows-amd64"),
    ],
)
def test_the_build_names_its_archives_as_the_recipes_do(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, name: str
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    target = load_build().name_target()
    assert target.endswith(f"-{name}")
    ending = "zip" if system == "Windows" else "tar.xz"
    assert f"sidecar-@VERSION@-{name}.{ending}" in read("mason/package.yaml")


def test_the_trailer_of_a_single_file_says_where_its_payload_begins() -> None:
    payload = b"x" * 300
    trailer = load_build().make_trailer(payload)
    launcher = read("bundle/launcher.c")
    assert f"#define TRAILER_BYTES {len(trailer)}\n" in launcher
    assert f'#define MAGIC "{trailer[:8].decode()}"\n' in launcher
    assert int(trailer[8:24], 16) == len(payload)
    assert re.fullmatch(rb"[0-9a-f]{16}", trailer[24:])


def test_one_package_is_taken_out_of_a_lock() -> None:
    lines = [
        "a==1 \\",
        "    --hash=sha256:00",
        "zstandard==2 \\",
        "    --hash=sha256:01 \\",
        "    --hash=sha256:02",
        "b==3",
    ]
    assert load_build().take_pin(lines, "zstandard") == lines[2:5]


# --- npm -------------------------------------------------------------------------------------


@pytest.fixture
def wrapper(tmp_path: Path) -> Path:
    """Return the wrapper, installed beside a package of this platform whose program is a script."""
    modules = tmp_path / "node_modules"
    shutil.copytree(PACKAGING / "npm", modules / "sidecar-stdio")
    get_name = "process.stdout.write(`sidecar-stdio-${process.platform}-${process.arch}`)"
    name = subprocess.run(["node", "-e", get_name], capture_output=True, text=True, check=True, timeout=30).stdout
    program = modules / name / "sidecar/sidecar"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\nread line\necho "$1 $line"\n[ "$line" = wait ] && exec sleep 60\nexit 7\n')
    program.chmod(0o755)
    return modules / "sidecar-stdio"


@needs_node
@pytest.mark.spawns
def test_the_npm_wrapper_passes_arguments_lines_and_the_exit_code(wrapper: Path) -> None:
    command = ["node", str(wrapper / "run.js"), "--flag"]
    done = subprocess.run(command, input="hello\n", capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (7, "--flag hello\n")


@needs_node
@pytest.mark.spawns
def test_the_npm_wrapper_passes_signals(wrapper: Path) -> None:
    process = subprocess.Popen(["node", wrapper / "run.js"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"wait\n")
    process.stdin.flush()
    assert process.stdout.readline() == b" wait\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM


@needs_node
@pytest.mark.spawns
def test_a_host_is_told_the_path_or_what_is_missing(wrapper: Path) -> None:
    ask = ["node", "-p", f"require({json.dumps(str(wrapper))}).path"]
    found = subprocess.run(ask, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    assert Path(found).name == "sidecar"
    shutil.rmtree(Path(found).parent)
    missing = subprocess.run(ask, capture_output=True, text=True, check=False, timeout=30)
    assert missing.returncode != 0
    assert "--omit=optional" in missing.stderr
