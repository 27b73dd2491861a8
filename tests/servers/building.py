"""llama.cpp's server, built from the sources that the package `llama-cpp-python` brings.

A compiler for C++ must be there; CMake is installed. The build takes some minutes.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

SOURCE = "llama-cpp-python==0.3.36"
TOOLS = ("cmake==4.4.4", "ninja==1.13.2")

FLAGS = (
    *("-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_FLAGS_RELEASE=-O1", "-DBUILD_SHARED_LIBS=OFF"),
    *("-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_APP=OFF", "-DLLAMA_OPENSSL=OFF"),
    *("-DLLAMA_USE_PREBUILT_UI=OFF", "-DLLAMA_ALL_WARNINGS=OFF", "-DGGML_OPENMP=OFF"),
)
"""No more than the server, without what would be fetched or must be installed."""

TEMPLATE = "meta-llama-Llama-3.2-3B-Instruct.jinja"
"""A template of chats by which the server makes a model write its calls of tools, whatever its weights."""

STEP_SECONDS = 3600


class BuildError(Exception):
    """Why it cannot be built."""


def build(folder: Path) -> None:
    """Put `bin/llama-server` and `chat.jinja` into *folder* unless it is there.

    Raises: BuildError.
    """
    stamp = folder / "installed"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == SOURCE:
        return
    if not (shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")):
        raise BuildError("there is no compiler for C++")
    python, made = folder / "bin/python", folder / "made"
    _run(sys.executable, "-m", "venv", "--clear", str(folder))
    _run(str(python), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", *TOOLS)
    # Its own build is not begun: pip only looks at the metadata.
    _run(
        str(python), "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "-d", str(folder), SOURCE
    )
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, members=_select_sources(file), filter="data")
    (source,) = folder.glob("llama_cpp_python-*/vendor/llama.cpp")
    env = os.environ | {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    _run(str(folder / "bin/cmake"), "-S", str(source), "-B", str(made), *FLAGS, env=env)
    jobs = ("--parallel", str(os.cpu_count() or 1))
    _run(str(folder / "bin/cmake"), "--build", str(made), "--target", "llama-server", *jobs, env=env, niceness=15)
    shutil.move(made / "bin/llama-server", folder / "bin/llama-server")
    shutil.move(source / "models/templates" / TEMPLATE, folder / "chat.jinja")
    for each in (made, source.parent.parent):
        shutil.rmtree(each)
    archive.unlink()
    stamp.write_text(SOURCE, encoding="utf-8")


def _select_sources(file: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    return (each for each in file if "/vendor/llama.cpp/" in each.name)


def _run(*command: str, env: dict[str, str] | None = None, niceness: int = 0) -> None:
    words: Sequence[str] = ("nice", "-n", str(niceness), *command) if niceness else command
    try:
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=STEP_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{command[0]}: {type(error).__name__}") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "it failed").splitlines()
        raise BuildError(f"{Path(command[0]).name} {command[1]}: {said[-1]}")
