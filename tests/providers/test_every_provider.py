"""Every provider of the table, from end to end, at the addresses that are built in.

`ENDPOINTS` and `HEADERS` say independently of the table where each is asked and how it is authorized. A provider that
stands in the table alone is held to its own row, so that a new one is tested from its first day.
"""

from pathlib import Path

import pytest

from tests.support.fake_services import Answer, Services, document
from tests.support.in_process import online
from tests.support.lines import Object
from tests.support.program import Program
from tests.support.provider_rows import (
    MODEL,
    ROWS,
    TEXTS,
    TOOLS,
    case_of,
    check_chunks,
    every_key,
    every_setting,
    needed,
    params,
    reply_of,
    secrets,
    text_of,
    wires_of,
)

pytestmark = pytest.mark.long

RESOURCE = "https://my-resource.openai.azure.com/openai"
VERTEX = "https://aiplatform.googleapis.com/v1beta1/projects/my-project/locations/global"
ACCOUNT = "https://api.cloudflare.com/client/v4/accounts/my-account_id/ai"

ENDPOINTS = {
    ("anthropic", "anthropic_messages"): "https://api.anthropic.com/v1/messages",
    ("openai", "openai_chat"): "https://api.openai.com/v1/chat/completions",
    ("openai", "openai_responses"): "https://api.openai.com/v1/responses",
    ("azure", "openai_chat"): f"{RESOURCE}/v1/chat/completions",
    ("azure", "openai_responses"): f"{RESOURCE}/v1/responses",
    ("copilot", "openai_chat"): "https://api.githubcopilot.com/chat/completions",
    ("copilot", "openai_responses"): "https://api.githubcopilot.com/responses",
    ("copilot", "anthropic_messages"): "https://api.githubcopilot.com/v1/messages",
    ("bedrock", "bedrock_converse"): f"https://bedrock-runtime.eu-west-1.amazonaws.com/model/{MODEL}/converse-stream",
    ("vertex", "gemini"): f"{VERTEX}/publishers/google/models/{MODEL}:streamGenerateContent?alt=sse",
    ("vertex", "anthropic_messages"): f"{VERTEX}/publishers/anthropic/models/{MODEL}:streamRawPredict".replace(
        "v1beta1", "v1"
    ),
    ("vertex", "openai_chat"): f"{VERTEX}/endpoints/openapi/chat/completions".replace("v1beta1", "v1"),
    (
        "gemini",
        "gemini",
    ): f"https://generativelanguage.googleapis.com/v1beta/models/{MODEL}:streamGenerateContent?alt=sse",
    ("gemini", "openai_chat"): "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions",
    ("xai", "openai_chat"): "https://api.x.ai/v1/chat/completions",
    ("xai", "openai_responses"): "https://api.x.ai/v1/responses",
    ("openrouter", "openai_chat"): "https://openrouter.ai/api/v1/chat/completions",
    ("cloudflare", "openai_chat"): f"{ACCOUNT}/v1/chat/completions",
    ("cloudflare", "openai_responses"): f"{ACCOUNT}/v1/responses",
    ("cloudflare", "anthropic_messages"): f"{ACCOUNT}/v1/messages",
    ("cloudflare", "cloudflare"): f"{ACCOUNT}/run/{MODEL}",
    ("cerebras", "openai_chat"): "https://api.cerebras.ai/v1/chat/completions",
    ("groq", "openai_chat"): "https://api.groq.com/openai/v1/chat/completions",
    ("vercel", "openai_chat"): "https://ai-gateway.vercel.sh/v1/chat/completions",
    ("ollama", "ollama"): "https://ollama.com/api/chat",
    ("ollama", "openai_chat"): "https://ollama.com/v1/chat/completions",
    ("ollama", "openai_responses"): "https://ollama.com/v1/responses",
    ("ollama", "anthropic_messages"): "https://ollama.com/v1/messages",
    ("mistral", "openai_chat"): "https://api.mistral.ai/v1/chat/completions",
    ("deepseek", "openai_chat"): "https://api.deepseek.com/chat/completions",
}
"""Provider and wire → where a chat is posted."""

HEADERS = {"azure": "api-key", "gemini": "x-goog-api-key"}
"""Provider → the header of its key, where that is not `Authorization: Bearer`."""

USUAL_PATHS = {
    "anthropic_messages": "/v1/messages",
    "bedrock_converse": f"/model/{MODEL}/converse-stream",
    "cloudflare": f"/run/{MODEL}",
    "gemini": f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse",
    "ollama": "/api/chat",
    "openai_chat": "/chat/completions",
    "openai_responses": "/responses",
}
"""Wire → what follows the base address of a provider that says nothing else."""


SPOKEN = [(name, wire) for name, row in ROWS.items() for wire in wires_of(row)]


@pytest.mark.parametrize(("name", "wire"), SPOKEN)
@pytest.mark.parametrize("cases", [TEXTS, TOOLS], ids=["text", "tools"])
def test_a_chat_goes_where_it_belongs_with_the_one_key_that_belongs_there(
    keyed: Program, services: Services, name: str, wire: str, cases: tuple[str, ...]
) -> None:
    row, case = ROWS[name], case_of(wire, cases)
    address = ENDPOINTS.get((name, wire)) or row.address.base_url + (row.address.paths.get(wire) or USUAL_PATHS[wire])
    services.answer(f"POST {address}", reply_of(case))
    chat = params(wire)
    chat["options"]["tools"] = case.call["params"].get("options", {}).get("tools", [])
    lines = keyed.stream(keyed.send("stream_chat", chat, provider=name))
    assert [seen.url for seen in services.asked()] == [address]
    seen = services.only()
    check_chunks(lines, case)
    header = HEADERS.get(name, row.auth.header)
    assert seen.headers[header] == ("Bearer " if header == "authorization" else "") + f"CANARY-{name}"
    assert secrets(seen) == {f"CANARY-{name}"}
    assert seen.headers["content-type"] == "application/json"
    assert lines[-1].data["data"]["provider"] == name


@pytest.mark.parametrize("name", ROWS)
def test_a_refused_key_is_told_and_not_shown(keyed: Program, services: Services, name: str) -> None:
    services.answer("*", document({"error": {"message": f"CANARY-{name} is no key of ours."}}, 401))
    error = keyed.ask("stream_chat", params(), provider=name)["error"]
    assert (error["code"], error["provider"], error["provider_status"]) == ("auth_failed", name, 401)
    assert all(secrets(seen) == {f"CANARY-{name}"} for seen in services.asked())


def test_the_double_plays_text_and_tools(keyed: Program) -> None:
    for wire in USUAL_PATHS:
        for cases in (TEXTS, TOOLS):
            case = case_of(wire, cases)
            chat = params() | {"model": case.name}
            check_chunks(keyed.stream(keyed.send("stream_chat", chat, provider="replay")), case)


# --- base addresses and keys -------------------------------------------------------------------


def test_a_base_address_from_the_environment(services: Services, tmp_path: Path) -> None:
    bases = {f"SIDECAR_{name.upper()}_BASE_URL": f"{services.url}/{name}/base" for name in ROWS}
    with online(services, tmp_path, **every_key(), **every_setting(), **bases) as sidecar:
        for name, row in ROWS.items():
            check_base(sidecar, services, name, f"/{name}/base", {})
            # A key of the environment that belongs to another address stays at home.
            key = secrets(services.only("POST *"))
            assert key == (set() if row.auth.key_base_url else {f"CANARY-{name}"}), name


def test_a_base_address_and_a_key_from_the_configuration(services: Services, tmp_path: Path) -> None:
    tables = [
        f'[providers.{name}]\nbase_url = "{services.url}/{name}"\napi_key = "CANARY-config-{name}"\n' for name in ROWS
    ]
    with online(services, tmp_path, "\n".join(tables), **every_key(), **every_setting()) as sidecar:
        for name in ROWS:
            check_base(sidecar, services, name, f"/{name}", {})
            assert secrets(services.only("POST *")) == {f"CANARY-config-{name}"}


def test_a_base_address_and_a_key_from_the_request(keyed: Program, services: Services) -> None:
    for name in ROWS:
        given = {"base_url": f"{services.url}/{name}", "api_key": f"CANARY-request-{name}"}
        for where in (given, {"settings": given}):
            check_base(keyed, services, name, f"/{name}", where)
            assert secrets(services.only("POST *")) == {f"CANARY-request-{name}"}


def check_base(sidecar: Program, services: Services, name: str, base: str, where: Object) -> None:
    """Assert that a chat goes below *base* of our own server, and that nothing goes elsewhere."""
    services.forget()
    wire = ROWS[name].wire
    services.answer(f"POST {services.url}{base}/*", text_of(wire))
    reply = sidecar.ask("stream_chat", params(wire, **where), provider=name)
    assert reply["success"], (name, reply)
    assert all(seen.url.startswith(services.url + base + "/") for seen in services.asked()), name


@pytest.mark.parametrize("source", ["environment", "configuration"])
def test_a_key_is_not_sent_to_an_address_that_it_was_not_given_for(
    services: Services, tmp_path: Path, source: str
) -> None:
    """The address and the key come from two places: neither is trusted with the other."""
    services.answer("*", Answer(b"{}"))
    if source == "environment":
        config, env = "", {f"SIDECAR_{name.upper()}_BASE_URL": f"{services.url}/{name}" for name in ROWS}
        config = "\n".join(f'[providers.{name}]\napi_key = "CANARY-{name}"\n' for name in ROWS)
    else:
        config = "\n".join(f'[providers.{name}]\nbase_url = "{services.url}/{name}"\n' for name in ROWS)
        env = every_key()
    with online(services, tmp_path, config, **env, **every_setting()) as sidecar:
        for name, row in ROWS.items():
            error = sidecar.ask("stream_chat", params(row.wire), provider=name)["error"]
            assert row.auth.optional or error["code"] == "auth_required", name
    assert all(not secrets(seen) for seen in services.asked())


# --- settings ----------------------------------------------------------------------------------

LACKING = [(name, setting) for name, row in ROWS.items() for setting in needed(row)]


@pytest.mark.parametrize(("name", "setting"), LACKING)
def test_a_setting_that_is_missing_is_named_with_all_places_for_it(
    bare: Program, services: Services, name: str, setting: str
) -> None:
    # A key would do in the place of some settings, where there are keys.
    credential = {"api_key" if ROWS[name].auth.key_env else "access_token": "CANARY-key"}
    given = {key: value for key, value in needed(ROWS[name]).items() if key != setting} | credential
    error = bare.ask("stream_chat", params(settings=given), provider=name)["error"]
    assert (error["code"], error["param"]) == ("invalid_request", f"params.settings.{setting}")
    assert f"`{setting}`" in error["message"]
    for place in (ROWS[name].settings[setting].env[0], f"[providers.{name}]", f"`params.settings.{setting}`"):
        assert place in error["hint"]
    assert not services.asked()


SETTINGS: list[tuple[str, Object, str]] = [
    (
        "bedrock",
        {"region": "us-gov-west-1"},
        f"https://bedrock-runtime.us-gov-west-1.amazonaws.com/model/{MODEL}/converse-stream",
    ),
    (
        "bedrock",
        {"region": "cn-north-1"},
        f"https://bedrock-runtime.cn-north-1.amazonaws.com.cn/model/{MODEL}/converse-stream",
    ),
    (
        "cloudflare",
        {"account_id": "other"},
        "https://api.cloudflare.com/client/v4/accounts/other/ai/v1/chat/completions",
    ),
    (
        "azure",
        {"resource": "other", "api_key": "CANARY-other"},
        "https://other.openai.azure.com/openai/v1/chat/completions",
    ),
    (
        "azure",
        {"resource": "my-resource", "api_version": "2024-10-21"},
        f"https://my-resource.openai.azure.com/openai/deployments/{MODEL}/chat/completions?api-version=2024-10-21",
    ),
    (
        "vertex",
        {"project": "other", "location": "europe-west4"},
        f"https://europe-west4-aiplatform.googleapis.com/v1beta1/projects/other/locations/europe-west4/publishers/google/models/{MODEL}:streamGenerateContent?alt=sse",
    ),
    (
        "vertex",
        {"location": "eu"},
        f"https://aiplatform.eu.rep.googleapis.com/v1beta1/projects/my-project/locations/eu/publishers/google/models/{MODEL}:streamGenerateContent?alt=sse",
    ),
    (
        "vertex",
        {"location": "us"},
        f"https://aiplatform.us.rep.googleapis.com/v1beta1/projects/my-project/locations/us/publishers/google/models/{MODEL}:streamGenerateContent?alt=sse",
    ),
]


@pytest.mark.parametrize(("name", "settings", "address"), SETTINGS, ids=lambda value: str(value)[:40])
def test_settings_of_a_request_go_before_those_of_the_environment(
    keyed: Program, services: Services, name: str, settings: Object, address: str
) -> None:
    services.answer("*", text_of(ROWS[name].wire))
    assert keyed.ask("stream_chat", params(settings=settings), provider=name)["success"]
    assert services.only().url == address


def test_settings_of_the_configuration_go_before_those_of_the_environment(services: Services, tmp_path: Path) -> None:
    config = '[providers.bedrock]\nregion = "ap-south-1"\n[providers.cloudflare]\naccount_id = "mine"\n'
    with online(services, tmp_path, config, **every_key(), **every_setting()) as sidecar:
        for name in ("bedrock", "cloudflare"):
            services.answer("*", text_of(ROWS[name].wire))
            assert sidecar.ask("stream_chat", params(), provider=name)["success"]
    assert [seen.url.split("/")[2:7] for seen in services.asked()] == [
        ["bedrock-runtime.ap-south-1.amazonaws.com", "model", MODEL, "converse-stream"],
        ["api.cloudflare.com", "client", "v4", "accounts", "mine"],
    ]


def test_a_setting_cannot_lead_to_another_host(keyed: Program, services: Services) -> None:
    for name, setting in LACKING:
        for value in ("evil.example/", "evil.example#", "a\\b", "a/../b", "a?b"):
            error = keyed.ask("stream_chat", params(settings={setting: value}), provider=name)["error"]
            assert (error["code"], error["param"]) == ("invalid_request", f"params.settings.{setting}")
            assert "evil" not in error["message"]
    assert not services.asked()
