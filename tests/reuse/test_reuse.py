"""Chats that use an answer again: what the host sees, what is asked, and what the ledger counts."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from sidecar.reuse import memory_store
from tests.reuse.test_memory_store import Clock
from tests.support import documents
from tests.support.environment import environment, in_time
from tests.support.fake_provider import Provider
from tests.support.in_process import InProcess
from tests.support.ledgers import MODEL, OVERLOADED, report, rows
from tests.support.lines import Object, text
from tests.support.program import Program, write_home
from tests.support.reply_scripts import ANTHROPIC, OPENAI, document
from tests.support.stalling_providers import lively

pytestmark = pytest.mark.long

SCOPE = {"scope": "ws:1"}

FIRST_LINE_SECONDS = 0.005


def ask(sidecar: Program, model: str = MODEL, action: str = "stream_chat", content: str = "Hi", **options: Any) -> Any:
    params = sidecar.params(model)
    params["messages"] = [{"role": "user", "content": content}]
    params["options"] |= {"reuse": SCOPE} | options
    return sidecar.stream(sidecar.send(action, params, provider="anthropic"))


def data(lines: list[Any]) -> list[Object]:
    return [line.data["data"] for line in lines]


@pytest.fixture
def model(provider: Provider) -> str:
    return provider.play(MODEL, ANTHROPIC.answer("Hel", "lo ", "there"))


# --- what the host sees ----------------------------------------------------------------------


def test_the_second_answer_is_the_first_one_and_nobody_is_asked_for_it(
    sidecar: Program, provider: Provider, model: str
) -> None:
    first, second = data(ask(sidecar)), data(ask(sidecar))
    assert len(provider.calls(model)) == 1
    assert [each["type"] for each in second] == [each["type"] for each in first]
    assert second[1:-1] == first[1:-1]
    assert "reused" not in first[0]
    assert second[0] == first[0] | {"reused": {"age_s": 0, "saved_usd": "0.00009"}}
    done, original = second[-1], first[-1]
    assert done["message"] == original["message"]
    assert (done["finish_reason"], done["model"]) == (original["finish_reason"], original["model"])
    assert {*done["usage"].values()} == {0}
    assert done["cost"] == {"usd": "0", "parts": {}, "source": "reuse", "priced_at": None}
    assert done["attempts"] == []
    assert done["reused"] == second[0]["reused"]
    assert done["original"] == {"usage": original["usage"], "cost": original["cost"], "request_id": "msg_1"}


def test_generate_has_the_same_answer_and_says_so(sidecar: Program, provider: Provider, model: str) -> None:
    (first,), (second,) = (data(ask(sidecar, action="generate")) for _ in range(2))
    assert second["content"] == first["content"] == "Hello there"
    assert (second["reused"]["saved_usd"], second["original"]["usage"]) == ("0.00009", first["usage"])
    # A stream is answered by what a single line has left, and the other way round.
    assert "reused" in data(ask(sidecar))[0]
    assert len(provider.calls(model)) == 1


def test_a_chat_that_does_not_ask_for_it_is_as_it_was(sidecar: Program, provider: Provider, model: str) -> None:
    for _ in range(2):
        lines = ask(sidecar, reuse=None)
        assert "reused" not in data(lines)[0]
    assert len(provider.calls(model)) == 2


@pytest.mark.alone
def test_the_first_line_of_a_hit_comes_within_five_milliseconds(sidecar: Program, provider: Provider) -> None:
    provider.play(MODEL, ANTHROPIC.answer(*["some words of an answer "] * 2000))
    ask(sidecar)
    params = sidecar.params(MODEL)
    params["options"] |= {"reuse": SCOPE}

    def measure() -> float:
        began = time.process_time()
        going = sidecar.send("stream_chat", params, provider="anthropic")
        first = sidecar.chunk(going, 0)
        took = time.process_time() - began
        assert "reused" in first.data["data"]
        assert len(text(sidecar.stream(going))) == 24 * 2000
        return took

    in_time(measure, FIRST_LINE_SECONDS)
    assert len(provider.calls(MODEL)) == 1


# --- what is another question ----------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        {"reuse": {"scope": "ws:2"}},
        {"content": "Hi!"},
        {"max_tokens": 5},
        {"token_limit": 50},
        {"provider_options": {"metadata": {"user_id": "u"}}},
    ],
)
def test_whatever_differs_is_asked(sidecar: Program, provider: Provider, model: str, other: Object) -> None:
    ask(sidecar)
    assert "reused" not in data(ask(sidecar, **other))[0]
    assert len(provider.calls(model)) == 2


def test_another_key_never_gets_the_answer(sidecar: Program, provider: Provider, model: str) -> None:
    ask(sidecar)
    params = sidecar.params(MODEL) | {"api_key": "sk-ant-another-key"}
    params["options"] |= {"reuse": SCOPE}
    assert "reused" not in data(sidecar.stream(sidecar.send("stream_chat", params, provider="anthropic")))[0]
    assert len(provider.calls(model)) == 2


def test_several_keys_of_a_user_share_answers(tmp_path: Path, provider: Provider) -> None:
    provider.play("m", OPENAI.answer("fine"))
    config = f'[providers.openai]\nbase_url = "{provider.url}/v1"\napi_keys = ["sk-test-1", "sk-test-2", "sk-test-3"]\n'
    home, arguments = write_home(tmp_path, config)
    options = {"reuse": SCOPE, "wire": "openai_chat"}
    params = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "options": options}
    with InProcess(home, provider, arguments=arguments, env=environment(home)) as sidecar:
        found = [sidecar.ask("generate", params, provider="openai")["data"] for _ in range(4)]
    assert ["reused" in each for each in found] == [False, True, True, True]


# --- modes and rules -------------------------------------------------------------------------


def test_read_stores_nothing_and_write_asks_in_any_case(sidecar: Program, provider: Provider, model: str) -> None:
    assert "reused" not in data(ask(sidecar, reuse=SCOPE | {"mode": "read"}))[0]
    assert "reused" not in data(ask(sidecar, reuse=SCOPE | {"mode": "read"}))[0]
    ask(sidecar, reuse=SCOPE | {"mode": "write"})
    assert "reused" in data(ask(sidecar, reuse=SCOPE | {"mode": "read"}))[0]
    provider.play(model, ANTHROPIC.answer("new"))
    assert text(ask(sidecar, reuse=SCOPE | {"mode": "write"})) == "new"
    assert text(ask(sidecar)) == "new"
    assert len(provider.calls(model)) == 4


@pytest.mark.parametrize(
    ("options", "word"), [({"tools": [{"name": "now"}]}, "tools"), ({"temperature": 0.5}, "temperature")]
)
def test_a_chat_whose_answer_would_not_do_again_is_asked_with_a_warning(
    sidecar: Program, provider: Provider, model: str, options: Object, word: str
) -> None:
    for _ in range(2):
        start = data(ask(sidecar, **options))[0]
        (warning,) = (each for each in start["warnings"] if each["code"] == "not_reused")
        assert word in warning["message"]
        assert warning["param"] == "params.options.reuse"
    assert len(provider.calls(model)) == 2


def test_force_uses_an_answer_again_that_was_to_differ(sidecar: Program, provider: Provider, model: str) -> None:
    forced: Object = {"temperature": 0.5, "reuse": SCOPE | {"force": True}}
    ask(sidecar, **forced)
    assert "reused" in data(ask(sidecar, **forced))[0]
    assert len(provider.calls(model)) == 1


def test_an_answer_that_is_cut_off_is_not_stored(sidecar: Program, provider: Provider) -> None:
    provider.play(MODEL, lively())
    for _ in range(2):
        assert data(ask(sidecar, token_limit=5))[-1]["finish_reason"] == "length"
    going = sidecar.send("stream_chat", sidecar.params(MODEL) | {"options": {"reuse": SCOPE}}, provider="anthropic")
    sidecar.chunk(going, 3)
    sidecar.ask("cancel", {"id": going})
    sidecar.stream(going)
    provider.play(MODEL, ANTHROPIC.answer("whole"))
    assert text(ask(sidecar)) == "whole"


def test_an_answer_after_an_option_was_dropped_is_not_stored_under_the_request_with_it(
    sidecar: Program, provider: Provider
) -> None:
    no_seed = document({"error": {"code": "unsupported_value", "param": "seed", "message": "No."}}, 400)
    provider.play_in_turn("m", no_seed, OPENAI.answer("fine"), no_seed, OPENAI.answer("fine"))
    params = sidecar.params("m", OPENAI)
    params["options"] |= {"reuse": SCOPE, "seed": 5}
    for _ in range(2):
        lines = sidecar.stream(sidecar.send("stream_chat", params, provider="openai"))
        assert "reused" not in data(lines)[0]
    assert ["seed" in call.json for call in provider.calls("m")] == [True, False] * 2


def test_identical_chats_at_once_are_each_asked(sidecar: Program, provider: Provider, model: str) -> None:
    params = sidecar.params(MODEL)
    params["options"] |= {"reuse": SCOPE}
    asked = [sidecar.send("stream_chat", params, provider="anthropic") for _ in range(3)]
    for each in asked:
        assert text(sidecar.stream(each)) == "Hello there"
    assert len(provider.calls(model)) == 3
    assert "reused" in data(ask(sidecar))[0]


# --- how long, and forgetting ----------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stopped = Clock()
    monkeypatch.setattr(memory_store, "time", stopped)
    return stopped


def test_an_answer_is_used_until_its_time_is_up(sidecar: Program, provider: Provider, model: str, clock: Clock) -> None:
    ask(sidecar, reuse=SCOPE | {"ttl_s": 100})
    clock.now += 99.5
    assert data(ask(sidecar, reuse=SCOPE | {"ttl_s": 100}))[0]["reused"]["age_s"] == 99
    # Who wants a fresher one gets it, and it lasts for as long as it was stored for.
    assert "reused" not in data(ask(sidecar, reuse=SCOPE | {"ttl_s": 50, "mode": "read"}))[0]
    clock.now += 1
    assert "reused" not in data(ask(sidecar))[0]
    assert len(provider.calls(model)) == 3


@pytest.mark.usefixtures("model")
def test_forget_forgets_a_scope(sidecar: Program) -> None:
    ask(sidecar)
    ask(sidecar, reuse={"scope": "ws:2"})
    assert sidecar.ask("forget", {"scope": "ws:1"})["data"] == {"forgotten": 1}
    assert sidecar.ask("forget", {"scope": "never used"})["data"] == {"forgotten": 0}
    assert "reused" not in data(ask(sidecar))[0]
    assert "reused" in data(ask(sidecar, reuse={"scope": "ws:2"}))[0]


# --- the file --------------------------------------------------------------------------------


def test_with_a_file_another_process_has_the_answer(tmp_path: Path, provider: Provider, model: str) -> None:
    home, arguments = write_home(tmp_path, "[reuse]\npersist = true\n")
    for count in (1, 1, 1):
        with InProcess(home, provider, arguments=arguments, env=environment(home)) as sidecar:
            assert text(ask(sidecar)) == "Hello there"
        assert len(provider.calls(model)) == count
    assert (home / "data" / "sidecar" / "answers.sqlite3").is_file()


@pytest.mark.spawns
def test_a_process_that_ends_at_once_has_stored_its_answer(tmp_path: Path) -> None:
    config = tmp_path / ".config" / "sidecar" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("[reuse]\npersist = true\n")
    params = {"model": "default", "messages": [{"role": "user", "content": "Hi"}], "options": {"reuse": SCOPE}}
    line = json.dumps({"action": "generate", "provider": "replay", "params": params})
    first, second = (json.loads(documents.run(f"{line}\n", tmp_path))["data"] for _ in range(2))
    assert ["reused" in each for each in (first, second)] == [False, True]
    assert second["content"] == first["content"]


@pytest.mark.usefixtures("model")
def test_without_one_nothing_is_written(tmp_path: Path, sidecar: Program) -> None:
    ask(sidecar)
    assert not list(tmp_path.rglob("answers*"))


@pytest.mark.usefixtures("model")
def test_a_corrupt_file_is_set_aside_and_the_chat_goes_on(tmp_path: Path, provider: Provider) -> None:
    home, arguments = write_home(tmp_path, "[reuse]\npersist = true\n")
    file = home / "data" / "sidecar" / "answers.sqlite3"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"neither a database nor a poem " * 200)
    with InProcess(home, provider, arguments=arguments, env=environment(home)) as sidecar:
        sidecar.ask("initialize", {"events": ["warnings"]})
        assert ["reused" in data(ask(sidecar))[0] for _ in range(2)] == [False, True]
        assert [each["data"]["code"] for each in sidecar.events] == ["answers_corrupt"]
    assert file.with_name("answers.sqlite3.corrupt").is_file()


# --- what the ledger counts ------------------------------------------------------------------


@pytest.mark.usefixtures("model")
def test_the_ledger_counts_hits_and_what_they_saved(sidecar: Program) -> None:
    for _ in range(3):
        ask(sidecar)
    table = report(sidecar, "kind")
    assert [
        (each["group"]["kind"], each["requests"], each["cost_usd"], each.get("saved_usd")) for each in table["rows"]
    ] == [
        ("chat", 1, "0.00009", None),
        ("reuse", 2, "0", "0.00018"),
    ]
    assert (table["totals"]["cost_usd"], table["totals"]["saved_usd"]) == ("0.00009", "0.00018")
    hit = rows(sidecar.home)[-1]
    assert (hit["provider"], hit["model"], hit["action"], hit["output_tokens"]) == (
        "anthropic",
        MODEL,
        "stream_chat",
        0,
    )


@pytest.mark.usefixtures("model")
def test_a_report_without_hits_does_not_mention_them(sidecar: Program) -> None:
    ask(sidecar, reuse=None)
    assert "saved_usd" not in report(sidecar)["totals"]


def test_a_hit_needs_neither_provider_nor_budget(tmp_path: Path, provider: Provider, model: str) -> None:
    home, arguments = write_home(tmp_path, "[budgets]\nday_usd = '0.00009'\n")
    with InProcess(home, provider, arguments=arguments, env=environment(home)) as sidecar:
        ask(sidecar)
        provider.play(model, OVERLOADED)
        assert "reused" in data(ask(sidecar))[0]
        error = ask(sidecar, content="other")[-1].data["error"]
        assert error["code"] == "quota_exceeded"
