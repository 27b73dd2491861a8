"""Builds what this platform can of what users install: a wheel, a folder in an archive, and a single file.

    python packaging/bundle/build.py

Everything lands in `dist/`. The folder and the single file need no Python. The single file is the folder, compressed
behind a small program (`launcher.c`) that unpacks it once; it is built where there is a C compiler and POSIX.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OUT = ROOT / "dist"
ENVIRONMENT = ROOT / "build/bundle"
LOCK = ROOT / "requirements-bundle.lock"
"""What the folder is made of, and what makes it: PyInstaller, and zstd as a library and as source."""

MAGIC = b"SIDECAR1"
"""As in `launcher.c`."""

LEVEL = 22
"""The highest of zstd: built once, downloaded often."""


def main() -> int:
    """Build all, print what there is, and return the exit code."""
    OUT.mkdir(exist_ok=True)
    wheel = build_wheel()
    python = make_environment(wheel)
    folder = build_folder(python)
    made = [wheel, archive_folder(folder)]
    if why := find_obstacle():
        sys.stderr.write(f"dist: no single file: {why}\n")
    else:
        made.append(build_single_file(python, folder))
    for path in made:
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


def name_target() -> str:
    """Return the version and the platform, as in the names of files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    system = {"Darwin": "macos"}.get(platform.system(), platform.system().lower())
    return f"{project['version']}-{system}-{platform.machine().lower()}"


def build_wheel() -> Path:
    """Build the wheel and return it."""
    for old in OUT.glob("*.whl"):
        old.unlink()
    run([sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(OUT)])
    (wheel,) = OUT.glob("*.whl")
    return wheel


def make_environment(wheel: Path) -> Path:
    """Install the locked packages and the *wheel* into an environment, and return its Python."""
    python = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = ENVIRONMENT / LOCK.name
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    if not stamp.exists() or stamp.read_bytes() != LOCK.read_bytes():
        run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)])
        run([*pip, "--require-hashes", "--only-binary", ":all:", "--requirement", str(LOCK)])
        shutil.copy(LOCK, stamp)
    run([*pip, "--no-index", "--no-deps", "--force-reinstall", str(wheel)])
    return python


def build_folder(python: Path) -> Path:
    """Build the folder that needs no Python, and return it."""
    package = capture([str(python), "-c", "import sidecar_stdio; print(sidecar_stdio.__path__[0])"])
    places = ["--distpath", str(ROOT / "build/folder"), "--workpath", str(ROOT / "build/pyinstaller")]
    command = [str(python), "-m", "PyInstaller", "--noconfirm", "--log-level", "ERROR", *places]
    run([*command, str(HERE / "sidecar.spec")], env=os.environ | {"PYTHONPATH": package})
    return ROOT / "build/folder/sidecar"


def archive_folder(folder: Path) -> Path:
    """Return the archive of *folder* that installers unpack: a zip on Windows, else a tar."""
    target = OUT / f"sidecar-{name_target()}"
    if os.name == "nt":
        return Path(shutil.make_archive(str(target), "zip", folder.parent, folder.name))
    archive = Path(f"{target}.tar.xz")
    with tarfile.open(archive, "w:xz", preset=9, format=tarfile.USTAR_FORMAT) as tar:
        add_files(tar, folder)
    return archive


def add_files(tar: tarfile.TarFile, folder: Path) -> None:
    """Add *folder* to *tar*, in an order and with times that are the same at every build."""

    def forget_builder(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = ""
        return info

    for path in (folder, *sorted(folder.rglob("*"))):
        tar.add(path, path.relative_to(folder.parent).as_posix(), recursive=False, filter=forget_builder)


def find_obstacle() -> str:
    """Return why a single file cannot be built here, empty if it can."""
    if os.name != "posix":
        return "it unpacks itself on POSIX systems only"
    if shutil.which("cc") is None:
        return "there is no C compiler `cc`"
    return ""


def build_single_file(python: Path, folder: Path) -> Path:
    """Build the single file and return it."""
    launcher = compile_launcher(python)
    with tempfile.TemporaryDirectory() as place:
        plain, frame = Path(place) / "folder.tar", Path(place) / "folder.tar.zst"
        with tarfile.open(plain, "w", format=tarfile.USTAR_FORMAT) as tar:
            add_files(tar, folder)
        run([str(python), str(HERE / "compress.py"), str(plain), str(frame), str(LEVEL)])
        payload = frame.read_bytes()
    target = OUT / f"sidecar-{name_target()}"
    target.write_bytes(b"".join((launcher.read_bytes(), payload, make_trailer(payload))))
    target.chmod(0o755)
    return target


def make_trailer(payload: bytes) -> bytes:
    """Return what ends the single file: where the *payload* begins, and which one it is."""
    digest = hashlib.sha256(payload).hexdigest()[:16]
    return MAGIC + f"{len(payload):016x}{digest}".encode()


def compile_launcher(python: Path) -> Path:
    """Compile the launcher with zstd's source, which the lock pins, and return it."""
    source = fetch_zstd_source(python)
    launcher = ROOT / "build/launcher"
    # What of zstd is not used is left out; the folder depends on the system's C library as well.
    smaller = ["-Wl,-dead_strip"] if platform.system() == "Darwin" else ["-s", "-Wl,--gc-sections"]
    flags = ["-std=gnu11", "-O2", "-ffunction-sections", "-fdata-sections", f"-I{source}", *smaller]
    run(["cc", *flags, str(HERE / "launcher.c"), str(source / "zstd.c"), "-o", str(launcher)])
    return launcher


def fetch_zstd_source(python: Path) -> Path:
    """Return the folder of zstd's source, out of the source distribution of its Python package."""
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    place = ROOT / "build/zstd"
    pin = ROOT / "build/zstd.lock"
    pin.write_text("\n".join(take_pin(lines, "zstandard")), encoding="utf-8")
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    hashes = ["--require-hashes", "--no-binary", ":all:", "--requirement", str(pin)]
    if not (place / "zstd/zstd.c").exists():
        run([*pip, *hashes, "--dest", str(place)])
        (source,) = place.glob("zstandard-*.tar.gz")
        with tarfile.open(source) as tar:
            wanted = [each for each in tar.getmembers() if "/zstd/" in each.name and each.isfile()]
            for each in wanted:
                each.name = each.name.partition("/")[2]
            tar.extractall(place, wanted, filter="data")
    return place / "zstd"


def take_pin(lines: Iterable[str], name: str) -> list[str]:
    """Return the lines of a lock that pin the package *name*."""
    found: list[str] = []
    for line in lines:
        if line.startswith(f"{name}==") or (found and line.startswith(" ")):
            found.append(line)
        elif found:
            break
    return found


def run(command: list[str], env: dict[str, str] | None = None) -> None:
    """Run *command*; end the build when it fails."""
    subprocess.run(command, cwd=ROOT, check=True, env=env)  # noqa: S603 - one of the build's own


def capture(command: list[str]) -> str:
    """Return what *command* prints."""
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603 - likewise
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
