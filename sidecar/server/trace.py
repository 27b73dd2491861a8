"""Every line in both directions, for authors of hosts: in a file, or wherever it is shown.

Knows what to leave out of a line: credentials, and the rest of long texts. Must not know what the lines mean.
"""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import anyio
import msgspec
from anyio.to_thread import run_sync as to_thread

from sidecar.core.json_values import parse_json
from sidecar.core.log import log
from sidecar.core.private_files import RefusedError, make_folder, open_file
from sidecar.server.framing import TooLong
from sidecar.upstream.recorder import names_credential

MAX_FILE_BYTES = 32 * 1024 * 1024
"""A longer file is renamed to FILE.1, replacing an earlier one, and a new file is begun."""

MAX_WAITING_BYTES = 32 * 1024 * 1024
"""How much may wait to be written. Further lines are dropped and counted."""

MAX_TEXT_CHARS = 4000
"""How much of a text is written."""

OMITTED = "(omitted)"

Reader = Literal["sidecar", "host"]
Write = Callable[[bytes, Callable[[bool], None]], bool | None]


class Noted:
    """Some lines of one direction, and when they passed."""

    __slots__ = ("at", "data", "to")

    def __init__(self, to: Reader, data: bytes) -> None:
        self.to = to
        self.data = data
        self.at = datetime.now(UTC)


Show = Callable[[list[Noted], int], None]
"""Shows lines, and how many were dropped before them. Blocks. Raises: OSError or RefusedError if it cannot go on."""


class Trace:
    """The lines that were not shown yet."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self._waiting: list[Noted] = []
        self._waiting_bytes = 0
        self._dropped = 0
        self._arrived = anyio.Event()
        self._is_unusable = False

    def note(self, to: Reader, data: bytes | TooLong) -> None:
        """Keep the lines in *data* for the file, if there is room."""
        lines = data if isinstance(data, bytes) else data.head
        if self._is_unusable or self._waiting_bytes + len(lines) > MAX_WAITING_BYTES:
            self._dropped += 1
            return
        try:
            self._waiting.append(Noted(to, lines))
        except MemoryError:
            self._dropped += 1
            return
        self._waiting_bytes += len(lines)
        self._arrived.set()

    def watch_requests(self, accept: Callable[[bytes | TooLong], None]) -> Callable[[bytes | TooLong], None]:
        """Return a function that keeps a line of the host for the file, and passes it to *accept*."""

        def accept_noted(line: bytes | TooLong) -> None:
            self.note("sidecar", line)
            accept(line)

        return accept_noted

    def watch(self, write: Write) -> Write:
        """Return a function that keeps lines for the file, and writes them with *write*."""

        def write_noted(batch: bytes, on_written: Callable[[bool], None]) -> bool | None:
            self.note("host", batch)
            return write(batch, on_written)

        return write_noted

    async def run(self) -> None:
        """Write lines as they come, in a worker thread, until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived = anyio.Event()
            await to_thread(self.write)

    def write(self) -> None:
        """Write all that waits. Blocks."""
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        dropped, self._dropped = self._dropped, 0
        if self._is_unusable or not (waiting or dropped):
            return
        try:
            try:
                self._show(waiting, dropped)
            except MemoryError:
                self._show([], dropped + len(waiting))
        except (OSError, RefusedError) as error:
            self._is_unusable = True
            log("error", "trace.unusable", reason=getattr(error, "strerror", None) or str(error))


def make_file_writer(path: str) -> Show:
    """Return a function that appends entries to the file *path*, one object of JSON a line."""
    file_path = Path(path)

    def show(waiting: list[Noted], dropped: int) -> None:
        lines = [_encode({"to": noted.to} | each, noted.at) for noted in waiting for each in read_lines(noted)]
        if dropped:
            lines.append(_encode({"event": "dropped", "count": dropped}))
        if lines:
            _append(file_path, b"".join(lines))

    return show


def _append(path: Path, lines: bytes) -> None:
    make_folder(path.parent)
    with open_file(path, "ab") as file:
        # An existing file may be open to others.
        path.chmod(0o600)
        file.write(lines)
        is_full = file.tell() > MAX_FILE_BYTES
    if is_full:
        path.replace(f"{path}.1")


def read_lines(noted: Noted) -> Iterator[dict[str, Any]]:
    """Yield each line as `line`, without credentials and long texts, or as `unreadable_bytes`."""
    for line in noted.data.split(b"\n"):
        if line.strip():
            value = parse_json(line)
            # A line that cannot be read may hold credentials that cannot be found.
            yield {"line": _cut(value)} if isinstance(value, dict) else {"unreadable_bytes": len(line)}


def _encode(entry: dict[str, Any], at: datetime | None = None) -> bytes:
    time = (at or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return msgspec.json.encode({"time": time, "pid": os.getpid()} | entry) + b"\n"


def _cut(value: Any, name: str = "") -> Any:
    """Return *value*, plain JSON, without credentials, and with only the beginnings of long texts."""
    if isinstance(value, dict):
        return {key: _cut(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_cut(each, name) for each in value]
    if not isinstance(value, str):
        return value
    if names_credential(name):
        return OMITTED
    if name.endswith("url"):
        # The query of a signed address is a credential.
        value = value.partition("?")[0]
    return value if len(value) <= MAX_TEXT_CHARS else f"{value[:MAX_TEXT_CHARS]}… ({len(value)} characters)"
