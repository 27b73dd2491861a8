"""`sidecar doctor`: a row for everything that may be wrong, with what to do about it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from sidecar.cli.client import Client
from sidecar.cli.doctor.checks import Check, judge
from sidecar.cli.doctor.examination import examine
from sidecar.cli.tables import Column, draw_table
from sidecar.cli.terminal import Terminal
from sidecar.config.values import Config

COLUMNS = (
    Column("CHECK", keeps_width=True),
    Column("STATE", styles={"ok": "green", "note": "dim", "warn": "yellow", "fail": "red"}, keeps_width=True),
    Column("FOUND"),
    Column("WHAT TO DO"),
)


class DoctorChoices(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says of an examination, the user's configuration, and what is wrong with it."""

    providers: Sequence[str] = ()
    shows_json: bool = False
    config: Config
    mistakes: Sequence[str] = ()


def run_doctor(client: Client, terminal: Terminal, choices: DoctorChoices) -> int:
    """Print what was found. Returns 1 if something is to be mended, else 0."""
    findings = examine(client, choices.providers, choices.config, choices.mistakes)
    checks = judge(findings, datetime.now(UTC))
    failed = sum(check.state == "fail" for check in checks)
    if choices.shows_json:
        document: dict[str, Any] = {"ok": not failed, "checks": checks}
        terminal.write(msgspec.json.encode(document).decode() + "\n")
    else:
        terminal.write_drawn(draw_table(terminal, COLUMNS, [_make_row(check) for check in checks]))
        terminal.say(
            "Nothing is wrong." if not failed else f"{failed} of these {'is' if failed == 1 else 'are'} wrong."
        )
    return 1 if failed else 0


def _make_row(check: Check) -> tuple[str, ...]:
    return check.name, check.state, check.found, check.todo
