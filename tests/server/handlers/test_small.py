"""The actions that fit in a few lines: `initialize`, `cancel`, `calculate_cost`, `usage_report`."""

from pathlib import Path

from protocol.replies import Warn
from protocol.requests import ACTIONS
from tests.support import app

USAGE = {"input_tokens": 1_000_000, "output_tokens": 0}


async def test_a_host_that_introduces_itself_learns_what_there_is() -> None:
    async with app.running() as host:
        learned = (await host.ask("initialize", {"client": {"name": "editor"}}))["data"]
        assert learned["actions"] == sorted(ACTIONS)
        assert {"openai", "replay"} <= set(learned["providers"])
        assert "anthropic_messages" in learned["wires"]
        assert host.app.upstream.client is not None
        assert host.app.upstream.client.name == "editor"


async def test_another_version_of_the_protocol_is_refused() -> None:
    async with app.running() as host:
        error = (await host.ask("initialize", {"protocol_version": 2}))["error"]
        assert (error["code"], error["param"]) == ("invalid_request", "params.protocol_version")


async def test_a_warning_goes_to_a_host_that_asked_for_warnings() -> None:
    async with app.running() as host:
        host.app.warn(Warn(code="one", message="Nobody asked."))
        await host.ask("initialize", {"events": ["warnings"]})
        host.app.warn(Warn(code="two", message="Somebody asked."))
        await host.app.write_queue.flush()
        assert [line["data"]["code"] for line in host.lines if "event" in line] == ["two"]


async def test_a_request_that_is_not_open_is_not_found() -> None:
    async with app.running() as host:
        assert (await host.ask("cancel", {"id": "nobody"}))["data"] == {"found": False}


async def test_a_usage_has_its_price_and_an_unknown_model_has_none() -> None:
    async with app.running() as host:
        known = await host.ask("calculate_cost", {"model": "gpt-4o", "usage": USAGE}, provider="openai")
        assert known["data"]["usd"] == "2.5"
        unknown = await host.ask("calculate_cost", {"model": "no-such-model", "usage": USAGE}, provider="openai")
        assert (unknown["data"]["usd"], unknown["data"]["reason"]) == (None, "model_unknown")


async def test_a_ledger_without_rows_reports_none(tmp_path: Path) -> None:
    async with app.running(ledger_path=str(tmp_path / "ledger.db")) as host:
        table = (await host.ask("usage_report", {"by": ["provider"]}))["data"]
        assert (table["rows"], table["totals"]["requests"]) == ([], 0)
