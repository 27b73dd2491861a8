"""The languages that have a client: what each needs, how it is built, and the commands that run it."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "protocol/clients"
PLACE = ROOT / "build/clients"
"""Where `make clients` installs tools, and where clients are built."""

PYTHON = ROOT / ".venv/bin/python"
BUILD_SECONDS = 300


def runs_all() -> bool:
    """Return whether `make clients` runs the tests. Otherwise they are about the client in Python alone, and quick."""
    return "SIDECAR_CLIENTS" in os.environ


class Language(NamedTuple):
    """A language. `make clients` tests it where its tool is, and says why where it is not."""

    name: str
    find_lack: Callable[[], str | None]
    """Returns what is missing for the tests, or None."""
    build: Callable[[], None]
    """Builds the driver of the kit and the host of `examples/`."""
    driver: list[str]
    """The command of the driver."""
    host: list[str]
    """The command of the host of `examples/`."""
    source: str
    """The file of that host."""


def find_lack(name: str) -> str | None:
    """Return why the tests of the language *name* cannot run here and now, or None."""
    if not runs_all() and name != "python":
        return "`make clients` tests it"
    return next(language for language in LANGUAGES if language.name == name).find_lack()


def lacks_program(*names: str) -> Callable[[], str | None]:
    """Return what says which of the programs *names* is not installed."""

    def find_lack() -> str | None:
        missing = [name for name in names if not shutil.which(name)]
        return f"{' and '.join(missing)} not installed" if missing else None

    return find_lack


def run(command: list[str], *, folder: Path = ROOT, **env: str) -> None:
    """Run a command of a build; a failure shows what it has written."""
    done = subprocess.run(
        command, cwd=folder, env=os.environ | env, capture_output=True, text=True, check=False, timeout=BUILD_SECONDS
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def build_nothing() -> None:
    """Build a language that runs as it is written."""


# --- TypeScript ------------------------------------------------------------------------------

TOOLS = PLACE / "node_modules"
SCRIPTS = PLACE / "js"


def _find_lack_of_typescript() -> str | None:
    if lack := lacks_program("node")():
        return lack
    return None if (TOOLS / ".bin/tsc").exists() else "the compiler is not installed: `make clients` does that"


def _build_typescript() -> None:
    types = ["--typeRoots", str(TOOLS / "@types"), "--outDir", str(SCRIPTS)]
    run([str(TOOLS / ".bin/tsc"), "--project", "tests/clients/tsconfig.json", *types])
    (SCRIPTS / "package.json").write_text('{"type":"module"}', encoding="utf-8")


# --- Neovim ----------------------------------------------------------------------------------

NVIM = ["nvim", "--headless", "-u", "NONE", "-i", "NONE", "--cmd", f"set runtimepath^={CLIENTS / 'lua'}", "-c"]

# --- Go --------------------------------------------------------------------------------------

GO_BINARIES = PLACE / "go"


def build_go(source: str, name: str) -> Path:
    """Build the program of the file or folder *source* over the client, and return its path."""
    binary = GO_BINARIES / name
    # `off`: nothing is fetched, so that a dependency could not come in unseen.
    run(["go", "build", "-o", str(binary), source], folder=CLIENTS / "go", GOPROXY="off", GOTOOLCHAIN="local")
    return binary


def _build_go() -> None:
    for check in ("vet", "test"):
        run(["go", check, "./..."], folder=CLIENTS / "go", GOPROXY="off", GOTOOLCHAIN="local")
    build_go("./kit", "kit")
    build_go(str(ROOT / "examples/host.go"), "host")


# --- Emacs -----------------------------------------------------------------------------------

COMPILED = PLACE / "elisp"
EMACS = ["emacs", "--batch", "-Q", "-L", str(COMPILED), "-l"]


def _build_elisp() -> None:
    shutil.rmtree(COMPILED, ignore_errors=True)
    shutil.copytree(CLIENTS / "elisp", COMPILED)
    sources = [f"{name}.el" for name in ("sidecar-types", "sidecar-process", "sidecar", "kit")]
    run([*EMACS, str(ROOT / "tests/clients/check.el"), *sources], folder=COMPILED)


# --- Rust ------------------------------------------------------------------------------------

CRATES = Path("/usr/share/cargo/registry")
"""Where Debian's packages put the sources of crates."""

CARGO = shutil.which("cargo") or str(Path.home() / ".cargo/bin/cargo")
BINARIES = PLACE / "rust/debug"


def _find_lack_of_rust() -> str | None:
    if not shutil.which(CARGO):
        return "cargo not installed"
    return None if list(CRATES.glob("serde_json-*")) else "librust-serde-json-dev of Debian not installed"


def run_cargo(folder: Path, *command: str) -> None:
    """Run a command of cargo in *folder*, with the crates of Debian."""
    sources = ('source.crates-io.replace-with="debian"', f'source.debian.directory="{CRATES}"')
    options = [option for source in sources for option in ("--config", source)]
    run([CARGO, *command, "--offline", *options], folder=folder, CARGO_TARGET_DIR=str(PLACE / "rust"))


def _build_rust() -> None:
    run_cargo(CLIENTS / "rust", "build", "--examples")
    run_cargo(CLIENTS / "rust", "test", "--test", "types")


# --- Zig -------------------------------------------------------------------------------------

ZIG = PLACE / "zig"
"""A virtual environment with Zig; `make clients` makes it."""

ZIG_COMMAND = [str(ZIG / "bin/python"), "-m", "ziglang"]
ZIG_CACHES = ["--cache-dir", str(ZIG / "cache"), "--global-cache-dir", str(ZIG / "cache")]


def _find_lack_of_zig() -> str | None:
    return None if (ZIG / "installed").exists() else "Zig is not installed: `make clients` does that"


def build_zig(source: Path, name: str) -> Path:
    """Build the program *source* over the client, and return its path."""
    binary = ZIG / name
    modules = ["--dep", "client", f"-Mroot={source}", f"-Mclient={CLIENTS / 'zig/client.zig'}"]
    run([*ZIG_COMMAND, "build-exe", *modules, f"-femit-bin={binary}", *ZIG_CACHES])
    return binary


def _build_zig() -> None:
    run([*ZIG_COMMAND, "fmt", "--check", str(CLIENTS / "zig"), "examples/host.zig"])
    run([*ZIG_COMMAND, "test", str(CLIENTS / "zig/test.zig"), *ZIG_CACHES])
    build_zig(CLIENTS / "zig/kit.zig", "kit")
    build_zig(ROOT / "examples/host.zig", "host")


LANGUAGES = (
    Language(
        "python",
        lambda: None,
        build_nothing,
        [str(PYTHON), str(CLIENTS / "python/kit.py")],
        ["env", f"PYTHONPATH={CLIENTS / 'python'}", str(PYTHON), "examples/host.py"],
        "host.py",
    ),
    Language(
        "typescript",
        _find_lack_of_typescript,
        _build_typescript,
        ["node", str(SCRIPTS / "protocol/clients/typescript/kit.js")],
        ["node", str(SCRIPTS / "examples/host.js")],
        "host.ts",
    ),
    Language(
        "lua",
        lacks_program("nvim"),
        build_nothing,
        [str(CLIENTS / "lua/kit.sh")],
        [*NVIM, "luafile examples/host.lua"],
        "host.lua",
    ),
    Language("go", lacks_program("go"), _build_go, [str(GO_BINARIES / "kit")], [str(GO_BINARIES / "host")], "host.go"),
    Language(
        "elisp",
        lacks_program("emacs"),
        _build_elisp,
        [str(COMPILED / "kit.sh")],
        [*EMACS, "examples/host.el"],
        "host.el",
    ),
    Language(
        "rust",
        _find_lack_of_rust,
        _build_rust,
        [str(BINARIES / "examples/kit")],
        [str(BINARIES / "examples/host")],
        "host.rs",
    ),
    Language("zig", _find_lack_of_zig, _build_zig, [str(ZIG / "kit")], [str(ZIG / "host")], "host.zig"),
)
"""A client is a row here: the kit and the host of `examples/` run for each."""
