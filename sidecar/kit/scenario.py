"""The scenarios: folders `NNN_name` with what the host is told, what the sidecar does, and what must come of it."""

from pathlib import Path
from typing import Any

import msgspec

from sidecar.core import platforms
from sidecar.kit.contract import Close, Operation

FOLDER = Path(__file__).parent / "scenarios"

LIMIT_MS = 10_000
"""How long a scenario may take unless it says otherwise. Most take a tenth of a second."""


class Await(msgspec.Struct, frozen=True, tag_field="op", tag="await", forbid_unknown_fields=True):
    """Wait until `count` reports fit the pattern."""

    report: dict[str, Any]
    count: int = 1


class Pause(msgspec.Struct, frozen=True, tag_field="op", tag="pause", forbid_unknown_fields=True):
    """Wait."""

    ms: int


HostStep = Operation | Await | Pause


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What must be reported for one id."""

    id: int | str
    reports: list[Any]
    """The patterns of its reports, in order; without `id`."""
    not_before_ms: int = 0
    """The last of them must not come earlier after the request."""


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What must come of a scenario."""

    title: str
    """What the host must do, in a sentence."""
    hint: str
    """What hosts usually do wrong."""
    limit_ms: int = LIMIT_MS
    slow: bool = False
    """It takes more than a second, since it waits."""
    requests: list[Expected] = []
    events: list[Any] | None = msgspec.field(default_factory=lambda: [{"event": "ready"}])
    """The patterns of the other reports, in order; null: any. An `exit` that follows `close` is left out."""
    starts: tuple[int, int] = (1, 1)
    """How many processes the host starts: at least, and at most."""
    written: list[Any] = []
    """Lines that the host must write, in this order; others may come between. `$name` is an id of the script."""
    unwritten: list[Any] = []
    """Lines that the host must not write."""
    endings: list[str] = []
    """What must befall the last process, in this order: `eof`, `term`, `kill`."""
    slower_restarts: bool = False
    """The host waits longer before the last restart than before the first."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario."""

    name: str
    host: list[HostStep]
    """What the driver is told, and when. Ends with `close`."""
    script: list[dict[str, Any]]
    """See `script.py`."""
    expect: Expectation


def list_scenarios(only: list[str] | None = None, folder: Path = FOLDER) -> list[Scenario]:
    """Return the scenarios in the order of their names; *only*: those whose name has one of these texts in it."""
    names = sorted(path.name for path in folder.iterdir() if (path / "expect.json").is_file())
    found = [read_scenario(folder / name) for name in names if not only or any(each in name for each in only)]
    # Windows has no signal that a process could ignore.
    return [each for each in found if not (platforms.WINDOWS and each.expect.endings)]


def read_scenario(folder: Path) -> Scenario:
    """Return the scenario of *folder*.

    Raises: msgspec.ValidationError for one that is not well-formed.
    """
    host = msgspec.json.Decoder(HostStep).decode_lines((folder / "host.ndjson").read_bytes())
    if not host or not isinstance(host[-1], Close):
        host.append(Close())
    return Scenario(
        name=folder.name,
        host=host,
        script=msgspec.json.Decoder(dict[str, Any]).decode_lines((folder / "script.ndjson").read_bytes()),
        expect=msgspec.json.decode((folder / "expect.json").read_bytes(), type=Expectation),
    )
