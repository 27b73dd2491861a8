"""`sidecar trace` and `sidecar replay`: lines in both directions, as a person reads them.

A line has its time, its direction, the id of its request, and what it says, without credentials.
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from sidecar.cli.failures import CommandError
from sidecar.cli.terminal import Terminal, escape_controls
from sidecar.core.json_values import parse_json
from sidecar.server.trace import OMITTED, Noted, Reader, Show, Trace, make_file_writer, read_lines

if TYPE_CHECKING:
    from sidecar.cli.client import Client
    from sidecar.server.stdio import Descriptors

ARROWS: dict[Reader, str] = {"sidecar": "→", "host": "←"}

MAX_PAUSE_SECONDS = 2.0
"""How long a replay waits at most between two requests, however long the host did."""

MAX_FILE_BYTES = 64 * 1024 * 1024
"""A trace has half of this at most."""


# --- reading lines ---------------------------------------------------------------------------


def describe_line(to: Reader, line: Mapping[str, Any]) -> str:
    """Return one line in words: `1 stream_chat {…}`, `1 #0 start {…}`, `1 done {…}`, `1 error rate_limited: …`."""
    number = "-" if line.get("id") is None else str(line["id"])
    if to == "sidecar":
        rest = {name: it for name, it in line.items() if name not in ("id", "action", "params")}
        return _join(number, str(line.get("action")), {**rest, **_read_object(line.get("params"))})
    if "event" in line:
        return _join("-", f"event {line['event']}", _read_object(line.get("data")))
    if "error" in line:
        error = dict(_read_object(line["error"]))
        return _join(number, f"error {error.pop('code', '')}: {error.pop('message', '')}", error)
    data = dict(_read_object(line.get("data")))
    if "streaming" not in line:
        return _join(number, "answer", data)
    return _join(number, f"#{line.get('seq')} {data.pop('type', '')}", data)


def _read_object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _join(number: str, what: str, rest: Mapping[str, Any]) -> str:
    said = msgspec.json.encode(rest).decode() if rest else ""
    return escape_controls(" ".join(filter(None, (number, what, said))))


def format_entry(to: Reader, entry: Mapping[str, Any], at: datetime) -> str:
    """Return an entry of a trace as a line with the local time."""
    time = at.astimezone().strftime("%H:%M:%S.%f")[:-3]
    if "line" not in entry:
        return f"{time} {ARROWS[to]} {entry['unreadable_bytes']} bytes that are no object of JSON"
    return f"{time} {ARROWS[to]} {describe_line(to, entry['line'])}"


# --- trace -----------------------------------------------------------------------------------


def show_lines(descriptors: "Descriptors", path: str | None) -> tuple[Trace, "Descriptors"]:
    """Return a trace that shows every line on stderr, and adds it to the file *path*, and what the host is served by.

    A person who types the requests reads the replies on stderr, and not on stdout, too.
    """
    width = os.get_terminal_size(descriptors.stderr).columns if os.isatty(descriptors.stderr) else None
    shows = [_make_shower(sys.stderr.write, width), *([make_file_writer(path)] if path else [])]

    def show(waiting: list[Noted], dropped: int) -> None:
        for each in shows:
            each(waiting, dropped)

    if os.isatty(descriptors.stdout):
        descriptors = descriptors._replace(stdout=os.open(os.devnull, os.O_WRONLY))
    return Trace(show), descriptors


def _make_shower(write: Callable[[str], object], width: int | None) -> Show:
    def show(waiting: list[Noted], dropped: int) -> None:
        lines = [format_entry(noted.to, entry, noted.at) for noted in waiting for entry in read_lines(noted)]
        if dropped:
            lines.append(f"{dropped} lines were not shown: they came too fast")
        write("".join(f"{line[:width]}\n" for line in lines))

    return show


# --- replay ----------------------------------------------------------------------------------


class PastRequest(NamedTuple):
    """A request that a host has sent, and how long after the one before it."""

    pause_seconds: float
    line: bytes


def read_requests(path: Path) -> list[PastRequest]:
    """Return the requests in a trace, or in a file of requests, one a line.

    Raises: CommandError for a file that has none.
    """
    try:
        with path.open("rb") as file:
            lines = file.read(MAX_FILE_BYTES).splitlines()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from None
    requests = list(_find_requests(parse_json(line) for line in lines))
    if not requests:
        remedy = "`sidecar serve --trace FILE` writes such a file; each line may also be a request itself"
        raise CommandError(f"{path} holds no request.", remedy)
    return requests


def _find_requests(entries: Iterable[Any]) -> Iterable[PastRequest]:
    before: datetime | None = None
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        line, pause = entry, 0.0
        if entry.get("to") == "sidecar" and isinstance(entry.get("line"), dict):
            line, at = entry["line"], datetime.fromisoformat(str(entry["time"]))
            pause = min(MAX_PAUSE_SECONDS, max(0.0, (at - before).total_seconds())) if before else 0.0
            before = at
        if "action" in line and line["action"] != "shutdown":
            yield PastRequest(pause, msgspec.json.encode(_drop_omitted(line)))


def _drop_omitted(value: Any) -> Any:
    """Return *value* without the credentials that a trace has left out: the user's own take their place."""
    if isinstance(value, dict):
        return {name: _drop_omitted(each) for name, each in value.items() if each != OMITTED}
    return [_drop_omitted(each) for each in value] if isinstance(value, list) else value


def replay(client: "Client", terminal: Terminal, path: Path, *, shows_json: bool) -> int:
    """Send the requests in the file *path* again, and print both directions. Returns 1 if one of them failed."""
    failed = 0

    def take(to: Reader, line: bytes, at: datetime) -> None:
        nonlocal failed
        failed += to == "host" and b'"success":false' in line
        if not shows_json:
            for entry in read_lines(Noted(to, line)):
                terminal.write(format_entry(to, entry, at)[: terminal.columns] + "\n")
        elif to == "host":
            terminal.write(line.decode() + "\n")

    client.play(read_requests(path), take)
    return 1 if failed else 0
