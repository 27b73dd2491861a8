"""LiteLLM's proxy, the gateway of many companies, with models of which it makes the answers up itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.running import ask, chat, find_program, free_port, running

KEY = "sk-CANARY-of-the-gateway"

MODELS = """\
model_list:
  - model_name: fine
    litellm_params: {model: openai/gpt-4o-mini, api_key: x, mock_response: "It is fine."}
  - model_name: limited
    litellm_params: {model: openai/gpt-4o-mini, api_key: x, mock_response: "litellm.RateLimitError"}
  - model_name: broken
    litellm_params: {model: openai/gpt-4o-mini, api_key: x, mock_response: "litellm.InternalServerError"}
router_settings: {num_retries: 0}
litellm_settings: {telemetry: false, num_retries: 0}
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("litellm"), free_port()
    program = find_program("litellm", "litellm")
    (folder / "config.yaml").write_text(MODELS, encoding="utf-8")
    env = {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with running([program, "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)], port, folder, env):
        yield f"http://127.0.0.1:{port}"


def lab(gateway: str, key: str = KEY) -> str:
    return f'[providers.lab]\nwire = "openai_chat"\nbase_url = "{gateway}/v1"\napi_key = "{key}"\n'


def test_chats_of_a_provider_from_the_configuration_are_answered(gateway: str, tmp_path: Path) -> None:
    requests = [chat(1, "fine", "lab", action="stream_chat"), chat(2, "fine", "lab", max_tokens=5)]
    ends = ask(tmp_path, requests, lab(gateway), SIDECAR_MAX_ATTEMPTS="1")
    assert ends[1]["data"]["message"]["content"] == [{"type": "text", "text": "It is fine."}]
    assert ends[1]["data"]["finish_reason"] == "stop"
    assert ends[1]["data"]["usage"]["output_tokens"] > 0
    assert ends[2]["data"]["content"] == "It is fine."


@pytest.mark.parametrize(
    ("provider", "variables"),
    [
        ("anthropic", {"ANTHROPIC_BASE_URL": "", "ANTHROPIC_AUTH_TOKEN": KEY}),
        ("openai", {"OPENAI_BASE_URL": "/v1", "OPENAI_API_KEY": KEY}),
    ],
)
def test_a_vendors_own_variables_lead_to_the_gateway(
    gateway: str, tmp_path: Path, provider: str, variables: dict[str, str]
) -> None:
    env = {name: gateway + value if name.endswith("_URL") else value for name, value in variables.items()}
    ends = ask(tmp_path, [chat(1, "fine", provider)], **env)
    assert ends[1]["data"]["content"] == "It is fine."


def test_its_failures_have_our_codes(gateway: str, tmp_path: Path) -> None:
    requests = [chat(1, "limited", "lab"), chat(2, "broken", "lab"), chat(3, "unknown", "lab")]
    ends = ask(tmp_path, requests, lab(gateway), SIDECAR_MAX_ATTEMPTS="1")
    assert ends[1]["error"]["code"] == "rate_limited"
    assert ends[2]["error"]["code"] == "provider_error"
    assert ends[3]["error"]["code"] == "model_not_found"


def test_a_fallback_follows_an_unknown_model(gateway: str, tmp_path: Path) -> None:
    ends = ask(tmp_path, [chat(1, "unknown", "lab", fallbacks=["lab/fine"])], lab(gateway))
    assert ends[1]["data"]["content"] == "It is fine."
    assert [each["model"] for each in ends[1]["data"]["attempts"]] == ["unknown", "fine"]


def test_a_wrong_key_is_refused_and_never_shown(gateway: str, tmp_path: Path) -> None:
    ends = ask(tmp_path, [chat(1, "fine", "lab")], lab(gateway, "sk-CANARY-wrong"), SIDECAR_MAX_ATTEMPTS="1")
    # Without a database of keys it answers 400, not 401.
    assert ends[1]["error"]["code"] in ("auth_failed", "invalid_request")
    assert "CANARY" not in str(ends)


def test_its_models_are_listed(gateway: str, tmp_path: Path) -> None:
    ends = ask(tmp_path, [{"id": 1, "action": "list_models", "provider": "lab"}], lab(gateway))
    assert {each["id"] for each in ends[1]["data"]["models"]} == {"fine", "limited", "broken"}
