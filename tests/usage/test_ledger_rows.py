"""The ledger as a user reads it: one row for each attempt, whatever becomes of it, and no chat that suffers from it."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sidecar.usage.kinds import KINDS
from tests.support import documents
from tests.support.environment import environment
from tests.support.fake_provider import STALL, Provider
from tests.support.fake_services import Services
from tests.support.fake_services import document as answer_of
from tests.support.in_process import InProcess, online
from tests.support.ledgers import MODEL, OVERLOADED, answered, file_of, report, rows
from tests.support.process_probes import posix_only
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC, OPENAI, stream
from tests.support.stalling_providers import lively

# --- what is written -------------------------------------------------------------------------


def test_each_attempt_is_one_row_however_it_ends(sidecar: Program, provider: Provider) -> None:
    assert answered(sidecar, provider).data["data"]["cost"]["usd"] == "0.00009"
    provider.play("down", OVERLOADED)
    assert sidecar.reply(sidecar.chat("down"))["error"]["code"] == "provider_overloaded"
    going = sidecar.chat(provider.play("going", lively()))
    sidecar.chunk(going, 3)
    sidecar.ask("cancel", {"id": going})
    sidecar.stream(going)
    late = sidecar.chat(provider.play("late", [STALL]), action="generate", timeout=200)
    assert sidecar.reply(late)["error"]["code"] == "timeout"
    totals = report(sidecar)["totals"]
    assert (totals["requests"], totals["succeeded"], totals["success_rate"]) == (4, 1, 0.25)
    found = [(each["action"], each["model"], each["outcome"], each["code"]) for each in rows(sidecar.home)]
    assert sorted(found) == [
        ("generate", "late", "failed", "timeout"),
        ("stream_chat", MODEL, "ok", None),
        ("stream_chat", "down", "failed", "provider_overloaded"),
        ("stream_chat", "going", "cancelled", "cancelled"),
    ]
    assert {each["kind"] for each in rows(sidecar.home)} == {"chat"}
    first = rows(sidecar.home)[0]
    assert (first["provider"], first["finish_reason"], first["input_tokens"], first["output_tokens"]) == (
        "anthropic",
        "stop",
        10,
        7,
    )
    assert first["cost_picousd"] == 90_000_000
    assert 0 <= first["first_chunk_ms"] <= first["latency_ms"]


def test_a_retry_is_a_row_of_its_own(tmp_path: Path, provider: Provider) -> None:
    env = environment(tmp_path, SIDECAR_MAX_ATTEMPTS="2")
    provider.play_in_turn(MODEL, OVERLOADED, ANTHROPIC.answer("up"))
    with InProcess(tmp_path, provider, env=env) as sidecar:
        done = sidecar.reply(sidecar.chat(MODEL))["data"]
        assert [each.get("code") for each in done["attempts"]] == ["provider_overloaded", None]
        table = report(sidecar, "outcome", "code")
    assert [(each["group"], each["requests"]) for each in table["rows"]] == [
        ({"outcome": "failed", "code": "provider_overloaded"}, 1),
        ({"outcome": "ok", "code": None}, 1),
    ]


def test_a_list_and_a_count_are_rows_of_their_kinds_and_cost_nothing(services: Services, tmp_path: Path) -> None:
    services.answer("GET *", answer_of({"data": [{"id": "gpt-6"}]}), answer_of({"error": {"message": "No."}}, 403))
    services.answer("POST *", answer_of({"input_tokens": 42}))
    with online(services, tmp_path, OPENAI_API_KEY="CANARY-key") as sidecar:
        for _ in range(2):
            sidecar.ask("list_models", {"refresh": True}, provider="openai")
        counted = {"model": "gpt-6", "messages": [{"role": "user", "content": "Hi"}], "exact": True}
        for _ in range(2):
            assert sidecar.ask("count_tokens", counted, provider="openai")["data"]["tokens"] == 42
        table = report(sidecar, "kind", "action", "outcome", "code")
    assert [(each["group"], each["requests"]) for each in table["rows"]] == [
        # The second time it is remembered.
        ({"kind": "count", "action": "count_tokens", "outcome": "ok", "code": None}, 1),
        ({"kind": "list", "action": "list_models", "outcome": "failed", "code": "permission_denied"}, 1),
        ({"kind": "list", "action": "list_models", "outcome": "ok", "code": None}, 1),
    ]
    assert (table["totals"]["unpriced"], table["totals"]["cost_usd"]) == (0, "0")


def test_every_kind_is_described() -> None:
    (row,) = (line for line in documents.read("protocol/PROTOCOL.md").splitlines() if line.startswith("| `by` |"))
    assert all(f"`{kind}`" in row for kind in KINDS)


def test_a_report_sums_to_the_last_digit_and_keeps_to_its_time(sidecar: Program, provider: Provider) -> None:
    for _ in range(3):
        answered(sidecar, provider)
    answered(sidecar, provider, "of-no-price")
    table = report(sidecar, "model", since="2020-01-01", provider="anthropic")
    priced, unpriced = table["rows"]
    assert (priced["group"], priced["cost_usd"], priced["unpriced"]) == ({"model": MODEL}, "0.00027", 0)
    assert (unpriced["cost_usd"], unpriced["unpriced"]) == ("0", 1)
    assert table["totals"]["output_tokens"] == 28
    assert table["since"] == "2020-01-01T00:00:00.000+00:00"
    assert report(sidecar, until="2020-01-01")["totals"]["requests"] == 0
    assert report(sidecar, provider="openai")["totals"]["requests"] == 0
    for since in ("yesterday", "0001-01-01T00:00:00+14:00"):
        error = sidecar.ask("usage_report", {"since": since})["error"]
        assert (error["code"], error["param"]) == ("invalid_request", "params.since")


def test_no_word_of_a_chat_is_in_it(sidecar: Program, provider: Provider) -> None:
    params = sidecar.params(provider.play(MODEL, ANTHROPIC.answer("what-the-model-wrote")))
    params["messages"] = [{"role": "user", "content": "what-the-user-wrote"}]
    sidecar.reply(sidecar.send("stream_chat", params, provider="anthropic"))
    report(sidecar)
    written = b"".join(each.read_bytes() for each in file_of(sidecar.home).parent.iterdir())
    assert MODEL.encode() in written
    assert b"-wrote" not in written
    assert params["api_key"].encode() not in written


# --- switched off ----------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["variable", "file"])
def test_switched_off_it_writes_nothing(tmp_path: Path, provider: Provider, way: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[ledger]\nenabled = false\n", encoding="utf-8")
    env = environment(tmp_path, SIDECAR_LEDGER="off") if way == "variable" else environment(tmp_path)
    arguments = [] if way == "variable" else ["--config", str(config)]
    with InProcess(tmp_path, provider, env=env, arguments=arguments) as sidecar:
        assert answered(sidecar, provider).data["success"]
        error = sidecar.ask("usage_report")["error"]
        assert (error["code"], error["reason"]) == ("invalid_request", "ledger_off")
    assert [each.name for each in tmp_path.iterdir()] == ["config.toml"]


def test_it_can_be_put_elsewhere(tmp_path: Path, provider: Provider) -> None:
    elsewhere = tmp_path / "elsewhere" / "rows"
    with InProcess(tmp_path, provider, env=environment(tmp_path, SIDECAR_LEDGER=str(elsewhere))) as sidecar:
        answered(sidecar, provider)
    assert elsewhere.is_file()
    assert not file_of(tmp_path).exists()


def test_nothing_is_written_before_somebody_was_asked(tmp_path: Path, provider: Provider) -> None:
    with InProcess(tmp_path, provider) as sidecar:
        assert sidecar.ask("usage_report")["data"]["totals"]["requests"] == 0
        sidecar.ask("list_providers")
    assert not file_of(tmp_path).exists()


# --- a file that is no good ------------------------------------------------------------------


def _corrupt(file: Path) -> None:
    file.write_bytes(b"neither a database nor a poem " * 200)


def _readonly(file: Path) -> None:
    # Not even root can make a file within a file.
    file.parent.rmdir()
    file.parent.write_bytes(b"")


@posix_only
@pytest.mark.parametrize("spoil", [_corrupt, _readonly])
def test_a_file_that_cannot_be_used_is_said_once_and_chats_go_on(
    tmp_path: Path, provider: Provider, spoil: Callable[[Path], None]
) -> None:
    file_of(tmp_path).parent.mkdir(parents=True)
    spoil(file_of(tmp_path))
    with InProcess(tmp_path, provider) as sidecar:
        sidecar.ask("initialize", {"events": ["warnings"]})
        for _ in range(3):
            assert answered(sidecar, provider).data["data"]["finish_reason"] == "stop"
            assert sidecar.ask("usage_report")["error"]["reason"] == "ledger_unusable"
        assert [each["data"]["code"] for each in sidecar.events] == ["ledger_unusable"]
    said = [json.loads(line) for line in sidecar.stderr.decode().splitlines()]
    assert [line["event"] for line in said if line["level"] == "warn"] == ["ledger.unusable"]


def test_a_file_of_a_newer_program_is_told_of_and_left_as_it_is(tmp_path: Path, provider: Provider) -> None:
    with InProcess(tmp_path, provider) as sidecar:
        answered(sidecar, provider)
    with closing(sqlite3.connect(file_of(tmp_path))) as connection, connection:
        connection.execute("UPDATE ledger_version SET version = 99")
    before = file_of(tmp_path).read_bytes()
    with InProcess(tmp_path, provider) as sidecar:
        sidecar.ask("initialize", {"events": ["warnings"]})
        assert answered(sidecar, provider).data["success"]
        error = sidecar.ask("usage_report")["error"]
        assert (error["code"], error["reason"]) == ("internal_error", "ledger_newer")
        (event,) = sidecar.events
        assert event["data"]["code"] == "ledger_newer"
        assert "version 99" in event["data"]["message"]
    assert file_of(tmp_path).read_bytes() == before


def test_a_place_that_cannot_be_looked_into_fails_no_chat_with_a_budget(tmp_path: Path, provider: Provider) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[budgets]\nday_usd = 5\n", encoding="utf-8")
    # As a folder that is another user's, but for root too.
    env = environment(tmp_path, SIDECAR_LEDGER=f"/{'x' * 300}")
    with InProcess(tmp_path, provider, env=env, arguments=["--config", str(config)]) as sidecar:
        sidecar.allowed.open_to_view.clear()
        for _ in range(2):
            assert answered(sidecar, provider).data["data"]["finish_reason"] == "stop"
        assert sidecar.ask("usage_report")["error"]["reason"] == "ledger_unusable"


def test_a_provider_that_reports_nonsense_does_not_keep_others_from_it(sidecar: Program, provider: Provider) -> None:
    usage = {"prompt_tokens": 10**30, "completion_tokens": 1, "cost": 10**18}
    told = OPENAI.closing.replace(b"data: [DONE]", b"data: %s\n\ndata: [DONE]" % json.dumps({"usage": usage}).encode())
    provider.play("mad", stream([OPENAI.opening, OPENAI.text("up"), told]))
    assert sidecar.reply(sidecar.chat("mad", OPENAI))["success"]
    answered(sidecar, provider)
    totals = report(sidecar)["totals"]
    assert (totals["requests"], totals["unpriced"], totals["cost_usd"]) == (2, 1, "0.00009")


@pytest.mark.parametrize("tokens", [-(10**30), -5])
def test_a_count_below_zero_does_not_keep_others_from_it(sidecar: Program, provider: Provider, tokens: int) -> None:
    usage = b'"usage": {"prompt_tokens": %d, "completion_tokens": %d}' % (tokens, tokens)
    closing_events = OPENAI.closing.replace(b"data: [DONE]", b"data: {%s}\n\ndata: [DONE]" % usage)
    provider.play("mad", stream([OPENAI.opening, OPENAI.text("up"), closing_events]))
    sidecar.reply(sidecar.chat("mad", OPENAI))
    answered(sidecar, provider)
    totals = report(sidecar)["totals"]
    assert (totals["requests"], totals["input_tokens"], totals["cost_usd"]) == (2, 10, "0.00009")
