"""Rows that the attempts of a minute share: completions come by the thousand."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from protocol.messages import Usage
from sidecar.usage import ledger_file
from sidecar.usage.ledger import MINUTE_SECONDS
from sidecar.usage.ledger_row import join_rows
from tests.support.fake_services import Answer, Services
from tests.support.in_process import InProcess, online
from tests.usage.test_ledger import row, write

PARAMS = {"model": "codestral-2508", "prefix": "x = ", "options": {"lines": "many"}}


def answer(*usage: int) -> Answer:
    counts = f'{{"prompt_tokens":{usage[0]},"completion_tokens":{usage[1]},"total_tokens":{sum(usage)}}}'
    event = f'{{"choices":[{{"index":0,"delta":{{"content":"1"}},"finish_reason":"stop"}}],"usage":{counts}}}'
    return Answer(f"data: {event}\n\ndata: [DONE]\n\n".encode(), headers={"content-type": "text/event-stream"})


def read_rows(path: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(each) for each in connection.execute("SELECT * FROM attempts ORDER BY id")]


def find_ledger(program: InProcess) -> Path:
    (path,) = program.home.rglob("ledger.sqlite3")
    return path


def complete(program: InProcess, times: int) -> None:
    for _ in range(times):
        assert program.ask("complete", PARAMS, provider="mistral")["success"]


def test_the_completions_of_a_minute_share_a_row(services: Services, tmp_path: Path) -> None:
    services.answer("POST *", answer(10, 2), answer(30, 4), answer(50, 6))
    with online(services, tmp_path, MISTRAL_API_KEY="CANARY-mistral") as program:
        complete(program, 3)
        totals = program.ask("usage_report", {"by": ["kind"]})["data"]["rows"][0]
    assert totals["group"] == {"kind": "completion"}
    counts = [totals[name] for name in ("requests", "succeeded", "input_tokens", "output_tokens", "unpriced")]
    assert counts == [3, 3, 90, 12, 0]
    assert float(totals["cost_usd"]) > 0


def test_a_row_is_written_once_its_minute_is_over(services: Services, tmp_path: Path) -> None:
    services.answer("POST *", answer(10, 2))
    with online(services, tmp_path, MISTRAL_API_KEY="CANARY-mistral") as program:
        complete(program, 5)
        program.let_pass(1)
        assert not [*program.home.rglob("ledger.sqlite3")]
        program.let_pass(MINUTE_SECONDS)
        (shared,) = read_rows(find_ledger(program))
    assert (shared["requests"], shared["input_tokens"]) == (5, 50)


def test_what_a_row_shares_is_summed_and_latencies_are_means() -> None:
    one = row(kind="completion", latency_ms=100, first_chunk_ms=10)
    both = join_rows(join_rows(one, row(kind="completion", latency_ms=400, first_chunk_ms=40)), one)
    assert (both.requests, both.latency_ms, both.first_chunk_ms) == (3, 200, 20)
    assert (both.cost_picousd, both.usage and both.usage.input_tokens) == (4500, 30)


def test_attempts_that_ended_otherwise_have_a_row_of_their_own() -> None:
    one = row(kind="completion")
    assert one.shared_by != row(kind="completion", outcome="failed", code="timeout").shared_by
    assert one.shared_by != row(kind="completion", at="2026-11-20T12:01:00.000Z").shared_by
    assert one.shared_by != row(kind="completion", cost_picousd=None).shared_by
    assert one.shared_by != row(kind="completion", usage=None).shared_by
    assert one.shared_by == row(kind="completion", usage=Usage(input_tokens=1)).shared_by


def test_a_report_counts_attempts_and_not_rows(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    write(
        path, row(requests=9, latency_ms=10), row(latency_ms=1000), row(requests=4, cost_picousd=None, outcome="failed")
    )
    totals = ledger_file.report(path, (), None, None, None).totals
    assert (totals["requests"], totals["succeeded"], totals["unpriced"]) == (14, 10, 4)
    assert (totals["p50_latency_ms"], totals["p95_latency_ms"]) == (10, 1000)
