"""The ledger as tests read it: through `usage_report`, and in its file."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.support.fake_provider import Provider
from tests.support.lines import Line, Object
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC, document

MODEL = "claude-sonnet-5-5"
"""Two dollars for a million tokens of the prompt, ten for one of the answer."""

OVERLOADED = document({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, 529)


def file_of(home: Path) -> Path:
    return home / "data" / "sidecar" / "ledger.sqlite3"


def report(sidecar: Program, *by: str, **params: Any) -> Object:
    reply = sidecar.ask("usage_report", {"by": list(by)} | params)
    assert reply["success"], reply
    data: Object = reply["data"]
    return data


def rows(home: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(file_of(home))) as connection, connection:
        connection.row_factory = sqlite3.Row
        return [dict(each) for each in connection.execute("SELECT * FROM attempts ORDER BY id")]


def answered(sidecar: Program, provider: Provider, model: str = MODEL) -> Line:
    return sidecar.stream(sidecar.chat(provider.play(model, ANTHROPIC.answer("up"))))[-1]
