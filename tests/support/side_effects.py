"""What a process has done to the machine, by the notes that `tests.support.audited` takes, and what it may do.

It may write where the user has said, and into the interpreter's own cache of compiled sources. It may start no
program, bind no address, and connect to this machine alone, but for what a test says.
"""

import ast
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from tests.support import audited

WATCHED = Path(__file__).with_name("audited.py")

_ROOTS = (str(Path(__file__).resolve().parent.parent.parent), sys.prefix, sys.base_prefix)


class Allowed:
    """What a process may do; a test adds to it."""

    def __init__(self, env: Mapping[str, str], arguments: Sequence[str]) -> None:
        data = Path(env.get("XDG_DATA_HOME") or Path(env.get("HOME", "/"), ".local", "share")) / "sidecar"
        recorded = [Path(after) for before, after in pairwise(arguments) if before in ("--record", "--trace")]
        self.open_to_view = recorded + ([Path(env["SIDECAR_LEDGER"])] if "SIDECAR_LEDGER" in env else [])
        """Places in which no secret may be."""
        store = [Path(env[name]) for name in ("SIDECAR_STORE_DIR", "SIDECAR_HOME") if name in env]
        self._modules = (*_ROOTS, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep)))
        self.places: list[Path] = [data, *store, *self.open_to_view]
        """Files that it may write, and folders in which it may write anything."""
        self.programs: list[str] = []
        """Programs that it may start, by the words that stand somewhere in their command line."""
        # A library that looks whether there is IPv6, when it is imported, closes its socket at once.
        self.addresses: list[str] = ["('::1', 0)"]
        """Addresses that it may bind."""
        self.hosts: list[str] = []
        """Other machines that it may connect to."""

    def writes(self, path: Path) -> bool:
        """Return whether *path* may be written, or made as a folder on the way to a place."""
        compiled = "__pycache__" in (path.name, path.parent.name) and str(path).startswith(self._modules)
        if compiled or path == Path(os.devnull):
            return True
        return any(
            path.is_relative_to(place) or place.is_relative_to(path) or str(path).startswith(f"{place}-")
            for place in self.places
        )


class Deed(NamedTuple):
    """One thing done: `write`, `start`, `bind` or `connect`, and what or whom."""

    what: str
    of: str


@contextmanager
def noting(deeds: list[Deed]) -> Iterator[None]:
    """Add whatever this process does meanwhile to *deeds*."""
    _listen()
    _noted.append(deeds)
    try:
        yield
    finally:
        _noted.pop()


_noted: list[list[Deed]] = []
"""Who notes, the innermost last."""


@cache
def _listen() -> None:
    """Hear of everything from now on: a hook cannot be taken away."""

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if _noted and event in audited.HEARD and (deed := audited.deed_of(event, arguments)):
            _noted[-1].append(Deed(*deed))

    sys.addaudithook(hear)


class Notes:
    """The file that a process under test notes its deeds in."""

    def __init__(self) -> None:
        descriptor, name = tempfile.mkstemp(prefix="deeds-")
        os.close(descriptor)
        self.path = Path(name)

    def deeds(self) -> Iterator[Deed]:
        """Yield what has been done so far."""
        for line in self.path.read_text(encoding="utf-8").splitlines():
            yield Deed(*ast.literal_eval(line))

    def remove(self) -> None:
        """Take the file away."""
        self.path.unlink(missing_ok=True)


def misdeeds(deeds: Iterable[Deed], allowed: Allowed) -> list[Deed]:
    """Return those of *deeds* that are not *allowed*."""
    return [deed for deed in dict.fromkeys(deeds) if not _is_allowed(deed, allowed)]


def _is_allowed(deed: Deed, allowed: Allowed) -> bool:
    match deed.what:
        case "write":
            return allowed.writes(Path(deed.of))
        case "start":
            return any(program in deed.of for program in allowed.programs)
        case "connect":
            return any(host in deed.of for host in allowed.hosts)
        case _:
            return deed.of in allowed.addresses
