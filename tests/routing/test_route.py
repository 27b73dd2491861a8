"""The model `auto`: who is asked, what the host is told of it, and who is asked next."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol.messages import Usage
from tests.support.environment import environment
from tests.support.fake_provider import Provider
from tests.support.in_process import InProcess
from tests.support.ledgers import file_of
from tests.support.lines import Object, text
from tests.support.program import Program, write_home
from tests.support.reply_scripts import ANTHROPIC, OPENAI, document
from tests.usage.test_ledger import row, write

SONNET, OPUS, HAIKU = "anthropic/claude-sonnet-5-5", "anthropic/claude-opus-5-5", "anthropic/claude-haiku-5-5"
"""Two dollars for a million tokens of the prompt and ten for one of the answer; four and twenty; a tenth and a half."""

MODELS = [OPUS, SONNET, HAIKU]

CONFIG = """
[providers.anthropic]
base_url = "{url}"
api_key = "sk-ant-made-up"

[providers.openai]
wire = "openai_chat"
base_url = "{url}/v1"
api_key = "sk-made-up"

[chains]
several = ["anthropic/claude-opus-5-5", "quick"]

[models.quick]
model = "claude-haiku-5-5"
provider = "anthropic"

[models.cheap]
model = "auto"
options = {{ route = {{ models = "several" }} }}
"""

DOWN = document({"type": "error", "error": {"type": "overloaded_error", "message": "No."}}, 529)


def start(tmp_path: Path, provider: Provider, more: str = "", **env: str) -> InProcess:
    home, arguments = write_home(tmp_path, CONFIG.format(url=provider.url) + more)
    given = environment(home, **{"SIDECAR_MAX_ATTEMPTS": "1"} | env)
    return InProcess(home, provider, arguments=arguments, env=given)


@pytest.fixture
def process(tmp_path: Path, provider: Provider) -> Iterator[Program]:
    for model in (*MODELS, "openai/of-no-price"):
        provider.play(model.partition("/")[2], ANTHROPIC.answer("fine"))
    with start(tmp_path, provider) as started:
        yield started


def ask(process: Program, models: Any = MODELS, content: Any = "Hi", model: str = "auto", **options: Any) -> list[Any]:
    route = {"models": models} if models else {}
    route |= options.pop("route", {})
    options |= {"route": route} if route else {}
    params = {"model": model, "messages": [{"role": "user", "content": content}], "options": options}
    return process.stream(process.send("stream_chat", params))


def begun(lines: list[Any]) -> Object:
    data: Object = lines[0].data["data"]
    assert data["type"] == "start", data
    return data


def reasons(route: Object) -> dict[str, str | None]:
    return {each["model"]: each.get("reason") for each in route["models"]}


def failure(lines: list[Any]) -> Object:
    error: Object = lines[-1].data["error"]
    return error


# --- who is asked ----------------------------------------------------------------------------


def test_the_cheapest_model_is_asked_and_start_says_why_no_other(process: Program, provider: Provider) -> None:
    lines = ask(process)
    said = begun(lines)
    assert (said["provider"], said["model"]) == ("anthropic", "claude-haiku-5-5")
    route = said["route"]
    assert (route["chosen"], route["prefer"], route["why"]) == (HAIKU, "cost", "cheapest")
    # A prompt of few tokens, and 2000 of output while nothing is known of the model.
    usd = {each["model"]: float(each["expected_usd"]) for each in route["models"]}
    assert [*usd] == [HAIKU, SONNET, OPUS]
    assert usd[HAIKU] == pytest.approx(0.001, rel=0.05)
    assert usd[OPUS] == pytest.approx(0.04, rel=0.05)
    assert reasons(route) == {HAIKU: None, SONNET: "dearer", OPUS: "dearer"}
    assert lines[-1].data["data"]["route"] == route
    assert text(lines) == "fine"
    assert not provider.calls("claude-opus-5-5")


def test_generate_says_it_in_its_one_line(process: Program) -> None:
    params = {
        "model": "auto",
        "messages": [{"role": "user", "content": "Hi"}],
        "options": {"route": {"models": MODELS}},
    }
    assert process.ask("generate", params)["data"]["route"]["chosen"] == HAIKU


def test_what_the_ledger_has_seen_of_a_task_changes_the_price(tmp_path: Path, provider: Provider) -> None:
    talkative = [row(provider="anthropic", model="claude-haiku-5-5", usage=Usage(output_tokens=900_000))] * 3
    terse = row(provider="anthropic", model="claude-sonnet-5-5", usage=Usage(output_tokens=10), first_chunk_ms=70)
    file = file_of(tmp_path / "home")
    write(file, *talkative, terse)
    provider.play("claude-sonnet-5-5", ANTHROPIC.answer("fine"))
    with start(tmp_path, provider) as process:
        route = begun(ask(process))["route"]
    assert (route["chosen"], route["why"]) == (SONNET, "cheapest")
    assert route["models"][0]["first_chunk_ms"] == 70
    assert reasons(route) == {SONNET: None, OPUS: "dearer", HAIKU: "dearer"}


def test_the_fastest_is_the_one_whose_first_chunks_came_first(tmp_path: Path, provider: Provider) -> None:
    times = {"claude-haiku-5-5": 800, "claude-opus-5-5": 300}
    write(
        file_of(tmp_path / "home"),
        *(row(provider="anthropic", model=name, first_chunk_ms=ms) for name, ms in times.items()),
    )
    provider.play("claude-opus-5-5", ANTHROPIC.answer("fine"))
    with start(tmp_path, provider) as process:
        route = begun(ask(process, route={"prefer": "latency"}))["route"]
    assert (route["chosen"], route["why"]) == (OPUS, "fastest")
    assert reasons(route) == {OPUS: None, HAIKU: "slower", SONNET: "latency_unknown"}


def test_a_cheaper_model_that_lacks_something_falls_away(process: Program) -> None:
    models = ["openai/gpt-4", "nobody/m", "bare-name", "openai/gpt-5.2", SONNET, "groq/llama-3.3-70b-versatile"]
    wide = "x " * 800_000
    route = begun(ask(process, [*models, "anthropic/claude-haiku-4-5"], wide))["route"]
    assert reasons(route) == {
        SONNET: None,
        "anthropic/claude-haiku-4-5": "too_long",
        "openai/gpt-4": "retired",
        "nobody/m": "misconfigured",
        "bare-name": "misconfigured",
        "groq/llama-3.3-70b-versatile": "no_credential",
        "openai/gpt-5.2": "too_long",
    }
    assert route["why"] == "only_one"


PDF = {"type": "file", "data": "JVBERi0xLjcK", "media_type": "application/pdf"}
IMAGE = {"type": "image", "data": "iVBORw0KGgo=", "media_type": "image/png"}
SCHEMA = {"type": "json_schema", "schema": {"type": "object"}}


@pytest.mark.parametrize(
    ("content", "options", "reason"),
    [
        ("Hi", {"tools": [{"name": "now"}]}, "no_tools"),
        ([IMAGE], {}, "no_images"),
        ([PDF], {}, "no_documents"),
        ("Hi", {"response_format": SCHEMA}, "no_schema"),
        ("Hi", {"response_format": {"type": "json"}}, "price_unknown"),
    ],
)
def test_a_model_that_lacks_what_the_chat_needs_falls_away(
    tmp_path: Path, provider: Provider, content: Any, options: Object, reason: str
) -> None:
    more = (
        "[catalogue.openai.small]\ncapabilities = { tools = false, images = false, pdf = false, structured = false }\n"
    )
    provider.play("claude-haiku-5-5", ANTHROPIC.answer("{}"))
    with start(tmp_path, provider, more) as process:
        route = begun(ask(process, ["openai/small", HAIKU], content, **options))["route"]
    assert reasons(route) == {HAIKU: None, "openai/small": reason}


def test_a_price_that_is_unknown_is_no_price_below_the_limit(process: Program) -> None:
    models = ["openai/of-no-price", *MODELS]
    route = begun(ask(process, models, route={"max_usd": "0.03"}))["route"]
    assert reasons(route) == {
        HAIKU: None,
        SONNET: "dearer",
        "openai/of-no-price": "price_unknown",
        OPUS: "over_max_usd",
    }


@pytest.mark.parametrize(
    ("region", "reason"), [("us-*", "wrong_region"), ("EU-*", "over_max_usd"), ("eu-west-1", "over_max_usd")]
)
def test_only_a_place_that_is_known_to_be_in_the_region_counts(
    tmp_path: Path, provider: Provider, region: str, reason: str
) -> None:
    more = '[providers.bedrock]\nregion = "eu-west-1"\napi_key = "made-up"\n'
    models = [SONNET, "bedrock/anthropic.claude-haiku-4-5-20251001-v1:0"]
    with start(tmp_path, provider, more) as process:
        error = failure(ask(process, models, route={"region": region, "max_usd": "0.000001"}))
    assert [each["reason"] for each in error["route"]] == ["wrong_region", reason]


# --- what is set where -----------------------------------------------------------------------


def test_the_configuration_says_what_a_request_leaves_open(tmp_path: Path, provider: Provider) -> None:
    provider.play("claude-opus-5-5", ANTHROPIC.answer("fine"))
    provider.play("claude-haiku-5-5", ANTHROPIC.answer("fine"))
    with start(tmp_path, provider, '[route]\nmodels = "several"\nprefer = "latency"\nmax_usd = 0.5\n') as process:
        route = begun(ask(process, None))["route"]
        assert (route["chosen"], route["prefer"], route["why"]) == ("quick", "latency", "cheapest")
        assert begun(ask(process, None, route={"prefer": "cost"}))["route"]["prefer"] == "cost"
        assert failure(ask(process, None, route={"max_usd": "0.00001"}))["reason"] == "no_model_fits"


def test_a_preset_can_be_the_name_of_a_route(process: Program) -> None:
    route = begun(ask(process, None, model="cheap"))["route"]
    assert (route["chosen"], [*reasons(route)]) == ("quick", ["quick", OPUS])


def test_without_models_the_error_says_what_to_set(process: Program) -> None:
    error = failure(ask(process, None))
    assert (error["code"], error["param"]) == ("invalid_request", "params.options.route.models")
    assert "[route]" in error["hint"]


def test_an_unknown_chain_is_refused(process: Program) -> None:
    error = failure(ask(process, "nothing"))
    assert (error["code"], error["param"]) == ("invalid_request", "params.options.route.models")
    assert "`several`" in error["message"]


@pytest.mark.parametrize("field", ["api_key", "base_url", "settings"])
def test_a_credential_belongs_to_a_model_that_is_named(process: Program, field: str) -> None:
    value = {"region": "eu"} if field == "settings" else "http://127.0.0.1:1"
    params = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}], field: value}
    error = process.ask("stream_chat", params)["error"]
    assert (error["code"], error["param"]) == ("invalid_request", f"params.{field}")


def test_a_provider_may_have_a_model_of_that_name(process: Program, provider: Provider) -> None:
    provider.play("auto", ANTHROPIC.answer("its own"))
    params = {
        "model": "auto",
        "messages": [{"role": "user", "content": "Hi"}],
        "options": {"route": {"models": MODELS}},
    }
    lines = process.stream(process.send("stream_chat", params, provider="anthropic"))
    assert text(lines) == "its own"
    assert "route" not in begun(lines)
    assert [each["param"] for each in begun(lines)["warnings"]] == ["params.options.route"]


# --- who is asked next -----------------------------------------------------------------------


def test_the_rest_of_the_order_are_the_fallbacks(process: Program, provider: Provider) -> None:
    provider.play("claude-haiku-5-5", DOWN)
    lines = ask(process)
    route = begun(lines)["route"]
    assert (route["chosen"], route["why"]) == (SONNET, "fallback")
    assert reasons(route) == {HAIKU: "failed", SONNET: None, OPUS: "dearer"}
    assert [each["model"] for each in lines[-1].data["data"]["attempts"]] == ["claude-haiku-5-5", "claude-sonnet-5-5"]


def test_the_requests_own_fallbacks_come_after_the_route(process: Program, provider: Provider) -> None:
    provider.play("claude-haiku-5-5", DOWN)
    route = begun(ask(process, [HAIKU], fallbacks=[OPUS]))["route"]
    assert (route["chosen"], route["why"], reasons(route)) == (OPUS, "fallback", {HAIKU: "failed"})


def test_with_fallbacks_off_only_the_chosen_one_is_asked(process: Program, provider: Provider) -> None:
    provider.play("claude-haiku-5-5", DOWN)
    error = failure(ask(process, route={"fall_back": False}))
    assert (error["code"], error["model"], error["attempts"]) == ("provider_overloaded", "claude-haiku-5-5", 1)
    assert not provider.calls("claude-sonnet-5-5")


def test_a_provider_that_has_been_failing_is_left_out(process: Program, provider: Provider) -> None:
    provider.play("claude-haiku-5-5", DOWN)
    provider.play("down", DOWN)
    for _ in range(5):
        ask(process, ["anthropic/down"])
    provider.play("of-no-price", ANTHROPIC.answer("fine"))
    error = failure(ask(process, route={"fall_back": False}))
    assert (error["code"], error["reason"], error["retryable"]) == ("provider_overloaded", "no_model_fits", True)
    assert {each["model"]: each["reason"] for each in error["route"]} == dict.fromkeys(MODELS, "gate_open")
    assert f"{OPUS}: gate_open" in error["message"]


def test_a_provider_that_asks_for_a_long_wait_is_left_out(tmp_path: Path, provider: Provider) -> None:
    provider.play("busy", document({"type": "error", "error": {"type": "rate_limit_error"}}, 429, retry_after="30"))
    provider.play("of-no-price", OPENAI.answer("fine"))
    unpriced = "openai/of-no-price"
    with start(tmp_path, provider, SIDECAR_MAX_ATTEMPTS="3") as process:
        assert begun(ask(process, ["anthropic/busy", unpriced]))["route"]["why"] == "fallback"
        assert reasons(begun(ask(process, [HAIKU, unpriced]))["route"]) == {unpriced: None, HAIKU: "rate_limited"}
        error = failure(ask(process))
    assert (error["code"], {each["reason"] for each in error["route"]}) == ("provider_overloaded", {"rate_limited"})


def test_a_budget_that_is_used_up_leaves_its_provider_out(tmp_path: Path, provider: Provider) -> None:
    with start(tmp_path, provider, "[budgets]\nproviders.anthropic.day_usd = 0\n") as process:
        error = failure(ask(process))
    assert (error["code"], {each["reason"] for each in error["route"]}) == ("quota_exceeded", {"budget"})


@pytest.mark.parametrize(
    ("models", "code"),
    [
        (["groq/llama-3.3-70b-versatile"], "auth_required"),
        (["nobody/m", "groq/llama-3.3-70b-versatile"], "invalid_request"),
        (["nobody/m"], "invalid_request"),
    ],
)
def test_when_none_fits_the_code_says_what_to_do(process: Program, models: list[str], code: str) -> None:
    error = failure(ask(process, models))
    assert (error["code"], error["reason"], error["param"]) == (code, "no_model_fits", "params.options.route")


def test_a_conversation_stays_with_the_model_that_has_answered_it(process: Program, provider: Provider) -> None:
    labelled = {"conversation": "c-1"}
    provider.play("claude-haiku-5-5", DOWN)
    assert begun(ask(process, route=labelled))["route"]["chosen"] == SONNET
    provider.play("claude-haiku-5-5", ANTHROPIC.answer("up again"))
    route = begun(ask(process, route=labelled))["route"]
    assert (route["chosen"], route["why"]) == (SONNET, "conversation")
    assert reasons(route) == {SONNET: None, HAIKU: "conversation", OPUS: "conversation"}
    assert begun(ask(process, route={"conversation": "c-2"}))["route"]["chosen"] == HAIKU
    assert begun(ask(process, [HAIKU, OPUS], route=labelled))["route"]["chosen"] == HAIKU
