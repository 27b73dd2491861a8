"""The ledger among processes: several write it, one leaves, one holds it locked, and who asks nobody has none."""

import sqlite3
from pathlib import Path

import pytest

from tests.support.fake_provider import Provider
from tests.support.ledgers import MODEL, answered, file_of, report, rows
from tests.support.process import Sidecar, environment, in_time
from tests.support.reply_scripts import ANTHROPIC
from tests.support.stalling_providers import lively


def test_the_last_row_is_written_before_it_leaves(tmp_path: Path, provider: Provider) -> None:
    with Sidecar(tmp_path, provider) as sidecar:
        going = sidecar.chat(provider.play(MODEL, lively()))
        sidecar.chunk(going, 3)
        answered(sidecar, provider, "second")
        sidecar.send("shutdown")
        sidecar.exit()
    assert sorted((each["outcome"], each["code"]) for each in rows(tmp_path)) == [
        ("cancelled", "shutting_down"),
        ("ok", None),
    ]


def test_processes_share_it(tmp_path: Path, provider: Provider) -> None:
    provider.play(MODEL, ANTHROPIC.answer("up"))
    with Sidecar(tmp_path, provider) as first, Sidecar(tmp_path, provider) as second:
        asked = [(each, each.chat(MODEL)) for _ in range(100) for each in (first, second)]
        for sidecar, request_id in asked:
            end = sidecar.stream(request_id)[-1].data
            assert end["success"], end
        report(first)
        assert report(second)["totals"]["requests"] == 200
    assert len(rows(tmp_path)) == 200


def test_who_asks_nobody_does_not_pay_for_it(tmp_path: Path) -> None:
    with Sidecar(tmp_path, env=environment(tmp_path, PYTHONPROFILEIMPORTTIME="1")) as sidecar:
        sidecar.ask("list_providers")
    assert b"sidecar.usage.ledger\n" in sidecar.stderr
    assert b"sqlite3" not in sidecar.stderr


@pytest.mark.alone
def test_a_file_that_another_holds_delays_neither_a_chat_nor_the_end(tmp_path: Path, provider: Provider) -> None:
    with Sidecar(tmp_path, provider) as sidecar:
        answered(sidecar, provider)
        report(sidecar)
        other = sqlite3.connect(file_of(tmp_path), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        in_time(lambda: _seconds(sidecar, provider), 0.5)
        sidecar.close_stdin()
        sidecar.exit(1.0)
        other.close()
    assert len(rows(tmp_path)) >= 1


def _seconds(sidecar: Sidecar, provider: Provider) -> float:
    request_id = sidecar.chat(provider.play(MODEL, ANTHROPIC.answer("up")))
    lines = sidecar.stream(request_id)
    assert lines[-1].data["data"]["type"] == "done"
    seconds: float = lines[-1].data["data"]["timings"]["total_ms"] / 1000
    return seconds
