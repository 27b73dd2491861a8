"""The example of each client's README runs, with a little of the host around it that it leaves out."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.languages import (
    BINARIES,
    CLIENTS,
    NVIM,
    PYTHON,
    ROOT,
    SCRIPTS,
    TOOLS,
    build_go,
    build_zig,
    find_lack,
    run,
    run_cargo,
)

pytestmark = [pytest.mark.spawns, pytest.mark.longest]

SECONDS = 60

TYPESCRIPT = """
const showToUser = (text: string) => console.error(text);
const append = (text: string) => process.stdout.write(text);
const offer = (name: string, args: unknown) => console.log(name, args);
const stopButton: { onclick?: () => void } = {};
const history: unknown[] = [];
"""

LUA = """
local history = {}
local function append(text) io.stdout:write(text) end
%s
vim.wait(30000, function() return #history > 0 end, 10)
vim.cmd("qall!")
"""

ELISP = """;; -*- lexical-binding: t; -*-
(defalias 'my-show #'princ)
%s
(while (not my-history)
  (accept-process-output nil 1))
"""


def read_example(name: str) -> str:
    """Return the first block of code of the README of the client *name*."""
    text = (CLIENTS / name / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def prepare_python(folder: Path) -> list[str]:
    (folder / "example.py").write_text(read_example("python"), encoding="utf-8")
    return ["env", f"PYTHONPATH={CLIENTS / 'python'}", str(PYTHON), str(folder / "example.py")]


def prepare_typescript(folder: Path) -> list[str]:
    source = ROOT / "build/clients/readme.ts"
    source.write_text(TYPESCRIPT + read_example("typescript").replace("./client.ts", CLIENT), encoding="utf-8")
    options = ["--project", str(folder), "--typeRoots", str(TOOLS / "@types"), "--outDir", str(SCRIPTS)]
    config = f'{{"extends":"{ROOT}/tests/clients/tsconfig.json","include":["{source}"]}}'
    (folder / "tsconfig.json").write_text(config, encoding="utf-8")
    run([str(TOOLS / ".bin/tsc"), *options])
    (SCRIPTS / "package.json").write_text('{"type":"module"}', encoding="utf-8")
    return ["node", str(SCRIPTS / "build/clients/readme.js")]


CLIENT = "../../protocol/clients/typescript/client.ts"


def prepare_lua(folder: Path) -> list[str]:
    (folder / "example.lua").write_text(LUA % read_example("lua"), encoding="utf-8")
    return [*NVIM, f"luafile {folder / 'example.lua'}"]


def prepare_go(folder: Path) -> list[str]:
    (folder / "example.go").write_text(read_example("go"), encoding="utf-8")
    return [str(build_go(str(folder / "example.go"), "example"))]


def prepare_elisp(folder: Path) -> list[str]:
    (folder / "example.el").write_text(ELISP % read_example("elisp"), encoding="utf-8")
    return ["emacs", "--batch", "-Q", "-L", str(CLIENTS / "elisp"), "-l", str(folder / "example.el")]


def prepare_rust(folder: Path) -> list[str]:
    dependencies = f'[dependencies]\nsidecar-client = {{ path = "{CLIENTS / "rust"}" }}\n'
    manifest = f'[package]\nname = "readme"\nversion = "0.1.0"\nedition = "2021"\n{dependencies}'
    (folder / "Cargo.toml").write_text(manifest, encoding="utf-8")
    (folder / "src").mkdir()
    (folder / "src/main.rs").write_text(read_example("rust"), encoding="utf-8")
    run_cargo(folder, "build")
    return [str(BINARIES / "readme")]


def prepare_zig(folder: Path) -> list[str]:
    (folder / "example.zig").write_text(read_example("zig"), encoding="utf-8")
    return [str(build_zig(folder / "example.zig", "example"))]


EXAMPLES = {
    "python": prepare_python,
    "typescript": prepare_typescript,
    "lua": prepare_lua,
    "go": prepare_go,
    "elisp": prepare_elisp,
    "rust": prepare_rust,
    "zig": prepare_zig,
}


@pytest.mark.parametrize(("name", "prepare"), EXAMPLES.items(), ids=EXAMPLES)
def test_the_example_of_a_readme_works(name: str, prepare: Callable[[Path], list[str]], tmp_path: Path) -> None:
    if lack := find_lack(name):
        pytest.skip(f"{name}: {lack}")
    env = os.environ | {"SIDECAR": str(ROOT / ".venv/bin/sidecar")}
    command = prepare(tmp_path)
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout) > 20
