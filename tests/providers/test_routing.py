"""How a request finds its way: names, presets, providers of the user's own, gateways, and whose key goes where."""

from pathlib import Path
from typing import Any

import pytest

from sidecar.catalogue import provider_rows
from tests.support.fake_services import Answer, Seen, Services
from tests.support.in_process import online
from tests.support.lines import Object
from tests.support.program import Program
from tests.support.provider_rows import ROWS, case_of, check_chunks, every_key, every_setting, params, secrets, text_of

GATEWAY = "https://gateway.ai.cloudflare.com/v1/my-account/my-gateway"
KINDS = """
[gateway]
kind = "cloudflare"
account_id = "my-account"
gateway = "my-gateway"
token = "CANARY-gateway"
"""

BEHIND = {
    "anthropic": "/anthropic/v1/messages",
    "openai": "/openai/chat/completions",
    "bedrock": "/aws-bedrock/bedrock-runtime/eu-west-1/model/some-model/converse-stream",
    "vertex": "/google-vertex-ai/v1beta1/projects/my-project/locations/global/publishers/google/models/some-model"
    ":streamGenerateContent?alt=sse",
    "gemini": "/google-ai-studio/v1beta/models/some-model:streamGenerateContent?alt=sse",
    "xai": "/grok/v1/chat/completions",
    "openrouter": "/openrouter/v1/chat/completions",
    "cerebras": "/cerebras/chat/completions",
    "groq": "/groq/chat/completions",
    "mistral": "/mistral/v1/chat/completions",
    "deepseek": "/deepseek/chat/completions",
}
"""Provider → what follows the gateway's own address."""


def ask(sidecar: Program, provider: str | None = None, **more: Any) -> Object:
    """Ask a chat and return its `done`."""
    envelope = {} if provider is None else {"provider": provider}
    reply = sidecar.ask("stream_chat", params() | more, **envelope)
    assert reply["success"], reply
    done: Object = reply["data"]
    return done


# --- what a model names ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "model", "asked"),
    [
        (None, "openrouter/maker/model", ("openrouter", "maker/model")),
        (None, "[openrouter]maker/model", ("openrouter", "maker/model")),
        ("groq", "[openrouter]maker/model", ("openrouter", "maker/model")),
        ("openrouter", "openrouter/auto", ("openrouter", "openrouter/auto")),
        ("openrouter", "groq/model", ("openrouter", "groq/model")),
        (None, "grok/some-model", ("xai", "some-model")),
        ("grok", "some-model", ("xai", "some-model")),
        (None, "[grok]some-model", ("xai", "some-model")),
    ],
)
def test_a_model_may_name_its_provider(
    keyed: Program, services: Services, provider: str | None, model: str, asked: tuple[str, str]
) -> None:
    services.answer("*", text_of("openai_chat"))
    done = ask(keyed, provider, model=model)
    seen = services.only()
    assert (done["provider"], seen.json["model"]) == asked
    assert seen.url.startswith(ROWS[asked[0]].address.base_url)
    assert secrets(seen) == {f"CANARY-{asked[0]}"}


def test_every_alias_is_its_provider(keyed: Program, services: Services) -> None:
    for alias, name in provider_rows.read_aliases().items():
        services.answer("POST *", text_of(ROWS[name].wire))
        assert ask(keyed, alias, options={"wire": ROWS[name].wire})["provider"] == name


@pytest.mark.parametrize("model", ["some-model", "maker/model", "[", "[]model", "[openrouter]"])
def test_without_a_provider_a_request_is_refused(keyed: Program, services: Services, model: str) -> None:
    error = keyed.ask("stream_chat", params() | {"model": model})["error"]
    assert error["code"] in ("invalid_request", "unknown_provider")
    assert error["param"] in ("provider", "params.model")
    assert not services.asked()


@pytest.mark.parametrize(
    ("provider", "model", "path"),
    [
        ("openai", "gpt-6", "/v1/responses"),
        ("openai", "o4-mini", "/v1/responses"),
        ("openai", "gpt-4o", "/v1/chat/completions"),
        ("openai", "nobody-knows", "/v1/chat/completions"),
        ("xai", "grok-5-fast", "/v1/responses"),
        ("xai", "grok-3", "/v1/chat/completions"),
    ],
)
def test_a_models_name_chooses_the_wire_and_an_option_forces_it(
    keyed: Program, services: Services, provider: str, model: str, path: str
) -> None:
    wires = {"/v1/responses": "openai_responses", "/v1/chat/completions": "openai_chat"}
    for each, wire in wires.items():
        services.answer(f"POST *{each}", text_of(wire))
    ask(keyed, provider, model=model)
    for wire in wires.values():
        ask(keyed, provider, model=model, options={"wire": wire})
    assert [seen.path for seen in services.asked()] == [path, *wires]


# --- presets -----------------------------------------------------------------------------------

PRESETS = """
[models.fast]
model = "groq/llama-x"
options = { max_tokens = 50, temperature = 0.25, reasoning = { effort = "low" } }
[models."my/own"]
provider = "deepseek"
model = "deepseek-x"
"""


def test_a_presets_options_stand_under_those_of_the_request(services: Services, tmp_path: Path) -> None:
    services.answer("*", text_of("openai_chat"))
    with online(services, tmp_path, PRESETS, **every_key()) as sidecar:
        done = ask(sidecar, model="fast", options={"temperature": 0.75, "stop": "END"})
        assert done["provider"] == "groq"
        # The preset says whom to ask, whatever the request says.
        assert ask(sidecar, "openai", model="my/own")["provider"] == "deepseek"
    first, second = services.asked()
    body = first.json
    assert body["model"] == "llama-x"
    assert (body["max_completion_tokens"], body["temperature"], body["stop"]) == (50, 0.75, ["END"])
    assert body["reasoning_effort"] == "low"
    assert second.json["model"] == "deepseek-x"
    assert (secrets(first), secrets(second)) == ({"CANARY-groq"}, {"CANARY-deepseek"})


# --- providers of the user's own ---------------------------------------------------------------

OWN = """
[providers.mylab]
name = "My Lab"
wire = "openai_chat"
base_url = "{url}/lab/v1"
api_key_env = "MYLAB_KEY"
headers = {{ "x-team" = "red" }}
quirks = {{ usage_option = false }}

[providers.claudish]
wire = "anthropic_messages"
base_url = "{url}/claudish"
auth_header = "x-api-key"
api_key = "CANARY-claudish"

[providers.open]
wire = "ollama"
base_url = "{url}/open"
"""


def test_a_provider_of_the_users_own_is_one_table(services: Services, tmp_path: Path) -> None:
    addresses = {"mylab": "/lab/v1/chat/completions", "claudish": "/claudish/v1/messages", "open": "/open/api/chat"}
    wires = {"mylab": "openai_chat", "claudish": "anthropic_messages", "open": "ollama"}
    for name, path in addresses.items():
        services.answer(f"POST {services.url}{path}", text_of(wires[name]))
    with online(services, tmp_path, OWN.format(url=services.url), MYLAB_KEY="CANARY-mylab", **every_key()) as sidecar:
        for name, wire in wires.items():
            model = f"{name}/some-model"
            lines = sidecar.stream(
                sidecar.send("stream_chat", params(model=model, options={"max_tokens": 9, "temperature": 0.3}))
            )
            check_chunks(lines, case_of(wire))
        listed = {each["id"]: each for each in sidecar.ask("list_providers")["data"]["providers"]}
    lab, claudish, unlocked = services.asked()
    assert (lab.headers["authorization"], lab.headers["x-team"]) == ("Bearer CANARY-mylab", "red")
    # Every compatible server knows the oldest field of the limit, and some know no other.
    assert (lab.json["max_tokens"], "stream_options" in lab.json) == (9, False)
    assert [seen.json.get("temperature") for seen in (lab, claudish)] == [0.3, 0.3]
    assert claudish.headers["x-api-key"] == "CANARY-claudish"
    assert "authorization" not in claudish.headers
    assert not secrets(unlocked)
    assert [secrets(seen) for seen in (lab, claudish)] == [{"CANARY-mylab"}, {"CANARY-claudish"}]
    assert (listed["mylab"]["name"], listed["mylab"]["built_in"], listed["mylab"]["ready"]) == ("My Lab", False, True)
    assert listed["openai"]["built_in"]


def test_a_stream_of_ones_own_server_may_end_without_its_marker(services: Services, tmp_path: Path) -> None:
    """Many compatible servers forget `[DONE]`: the finish reason is the end, and a stream without either is cut."""
    recorded = text_of("openai_chat")
    whole = recorded.body.replace(b"data: [DONE]\n\n", b"")
    cut = whole[: whole.index(b'"finish_reason":"stop"') - 200]
    answers = [Answer(body, headers=recorded.headers) for body in (whole, cut)]
    services.answer("*", *answers)
    with online(services, tmp_path, OWN.format(url=services.url), MYLAB_KEY="CANARY-mylab") as sidecar:
        assert ask(sidecar, "mylab")["finish_reason"] == "stop"
        assert sidecar.ask("stream_chat", params(), provider="mylab")["error"]["code"] == "stream_interrupted"


def test_a_compatible_server_under_a_built_in_name_may_end_without_its_marker(
    services: Services, tmp_path: Path
) -> None:
    recorded = text_of("openai_chat")
    whole = recorded.body.replace(b"data: [DONE]\n\n", b"")
    cut = whole[: whole.index(b'"finish_reason":"stop"') - 200]
    services.answer("*", *(Answer(body, headers=recorded.headers) for body in (whole, cut, whole)))
    asked = params(base_url=f"{services.url}/v1", api_key="CANARY-asked", options={"wire": "openai_chat"})
    with online(services, tmp_path, **every_key()) as sidecar:
        assert sidecar.ask("generate", asked, provider="openai")["data"]["finish_reason"] == "stop"
        assert sidecar.ask("stream_chat", asked, provider="openai")["error"]["code"] == "stream_interrupted"
        # OpenAI itself always sends it.
        own = params(options={"wire": "openai_chat"})
        assert sidecar.ask("stream_chat", own, provider="openai")["error"]["code"] == "stream_interrupted"


def test_a_built_in_provider_can_be_corrected(services: Services, tmp_path: Path) -> None:
    config = """
    [providers.openai]
    wire = "openai_chat"
    headers = { "openai-organization" = "org" }
    quirks = { system_role = "developer" }
    """
    services.answer("*", text_of("openai_chat"))
    messages = [{"role": "system", "content": "Brief."}, {"role": "user", "content": "Hi"}]
    with online(services, tmp_path, config, **every_key()) as sidecar:
        ask(sidecar, "openai", model="gpt-6", messages=messages)
    seen = services.only()
    assert seen.url == "https://api.openai.com/v1/chat/completions"
    assert seen.headers["openai-organization"] == "org"
    assert seen.json["messages"][0]["role"] == "developer"
    assert secrets(seen) == {"CANARY-openai"}


# --- gateways ----------------------------------------------------------------------------------


def through_gateway(services: Services, folder: Path, config: str, names: list[str]) -> dict[str, Seen]:
    """Ask each of *names* and return the request that came of it."""
    found = dict[str, Seen]()
    with online(services, folder, config, **every_key(), **every_setting()) as sidecar:
        for name in names:
            services.forget()
            services.answer("*", text_of(ROWS[name].wire))
            ask(sidecar, name, options={"wire": ROWS[name].wire})
            found[name] = services.asked("POST *")[-1]
    return found


def test_a_gateway_by_its_kind(services: Services, tmp_path: Path) -> None:
    names = [name for name, row in ROWS.items() if row.address.gateway_path is not None]
    for name, seen in through_gateway(services, tmp_path, KINDS, names).items():
        row = ROWS[name]
        wire_path = BEHIND.get(name) or f"{row.address.gateway_path}/chat/completions"
        assert seen.url == GATEWAY + wire_path
        assert seen.headers["cf-aig-authorization"] == "Bearer CANARY-gateway"
        assert seen.headers["cf-aig-skip-cache"] == "true"
        assert secrets(seen) == {f"CANARY-{name}", "CANARY-gateway"}


def test_a_gateway_takes_only_the_providers_that_it_knows_and_the_user_names(
    services: Services, tmp_path: Path
) -> None:
    config = KINDS + 'providers = ["groq", "vercel"]\n'
    found = through_gateway(services, tmp_path, config, ["groq", "vercel", "openai"])
    assert found["groq"].url.startswith(GATEWAY)
    # Not known to the gateway, and not named by the user.
    for name in ("vercel", "openai"):
        assert found[name].url.startswith(ROWS[name].address.base_url)
        assert secrets(found[name]) == {f"CANARY-{name}"}
        assert not [header for header in found[name].headers if header.startswith("cf-")]


def test_any_gateway_by_the_prefix_of_its_addresses(services: Services, tmp_path: Path) -> None:
    config = f'[gateway]\nprefix = "{services.url}/to/{{provider}}/"\nproviders = ["groq", "anthropic"]\n'
    found = through_gateway(services, tmp_path, config, ["groq", "anthropic", "mistral"])
    assert found["groq"].url == f"{services.url}/to/groq/chat/completions"
    assert found["anthropic"].url == f"{services.url}/to/anthropic/v1/messages"
    assert found["mistral"].url == "https://api.mistral.ai/v1/chat/completions"


def test_a_base_address_goes_before_the_gateway(services: Services, tmp_path: Path) -> None:
    config = KINDS + f'[providers.groq]\nbase_url = "{services.url}/own"\napi_key = "CANARY-own"\n'
    services.answer("*", text_of("openai_chat"))
    with online(services, tmp_path, config, **every_key()) as sidecar:
        ask(sidecar, "groq")
        ask(sidecar, "groq", base_url=f"{services.url}/asked", api_key="CANARY-asked")
    own, asked = services.asked()
    assert (own.path, asked.path) == ("/own/chat/completions", "/asked/chat/completions")
    assert (secrets(own), secrets(asked)) == ({"CANARY-own"}, {"CANARY-asked"})


# --- whose key goes where ----------------------------------------------------------------------


def test_a_redirect_does_not_take_the_key_along(keyed: Program, services: Services) -> None:
    services.answer("*", Answer(b"", 307, {"location": "https://evil.example/v1/chat/completions"}))
    for name, row in ROWS.items():
        error = keyed.ask("stream_chat", params(row.wire), provider=name)["error"]
        assert (error["code"], error["reason"]) == ("provider_error", "redirect"), name
        assert "https://evil.example:" in error["hint"], name
    assert not services.asked("*evil*")
