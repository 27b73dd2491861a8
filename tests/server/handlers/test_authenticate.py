"""`authenticate`: a key is stored, described, tested and forgotten, and nothing else is."""

from pathlib import Path

import pytest

from sidecar.auth.token_cache import Key, Minted, Terms
from sidecar.upstream.caches import CachedSettings, SettingsKey
from sidecar.upstream.context import Upstream
from tests.support import app
from tests.support.app import Host
from tests.support.lines import Object

KEY = "sk-CANARY-5f2e7c90d1"
LISTED = {"object": "list", "data": [{"id": "gpt-4o", "object": "model"}]}
TERMS = Terms(limit_seconds=1.0)


async def authenticate(host: Host, op: str, provider: str = "openai", **params: object) -> Object:
    return await host.ask("authenticate", {"op": op, **params}, provider=provider)


async def mint(up: Upstream, provider: str) -> str:
    """Return a token of *provider*, minted unless the process has one."""

    async def make() -> Minted[str]:
        return Minted("new", None)

    return await up.memory.tokens.get(Key("scheme", provider), make, TERMS)


async def test_a_stored_key_is_described_and_used_until_it_is_forgotten(tmp_path: Path) -> None:
    async with app.running(store_dir=str(tmp_path / "store")) as host:
        assert (await authenticate(host, "status"))["data"]["ready"] is False
        stored = (await authenticate(host, "login", api_key=KEY))["data"]
        assert (stored["type"], stored["method"]) == ("done", "api_key")
        described = (await authenticate(host, "status"))["data"]
        assert (described["ready"], described["source"]) == (True, "store")
        host.http.answer_with(LISTED)
        assert (await authenticate(host, "validate"))["data"]["valid"] is True
        assert host.http.asked[0].request.headers["authorization"] == f"Bearer {KEY}"
        assert (await authenticate(host, "logout"))["data"]["removed"] is True
        assert (await authenticate(host, "status"))["data"]["ready"] is False
        assert KEY not in str(host.lines)


async def test_a_logout_forgets_what_was_made_of_that_providers_credentials_alone(tmp_path: Path) -> None:
    async with app.running(store_dir=str(tmp_path / "store")) as host:
        up = host.app.upstream
        for provider in ("openai", "groq"):
            await authenticate(host, "login", provider, api_key=KEY)
            host.http.answer_with(LISTED)
            await host.ask("list_models", provider=provider)
            up.memory.renewal_failed_at[provider] = 1.0
            up.discovered_settings.put(SettingsKey(provider, b"question"), CachedSettings({"region": "somewhere"}, 0.0))
            await mint(up, provider)
        up.token_counts.put(b"question", 7)
        await authenticate(host, "logout", "openai")
        assert {key.provider for key in up.model_lists} == {"groq"}
        assert {key.provider for key in up.discovered_settings} == {"groq"}
        assert up.memory.renewal_failed_at == {"groq": 1.0}
        tokens = up.memory.tokens
        assert (tokens.peek(Key("scheme", "openai")), tokens.peek(Key("scheme", "groq"))) == (None, "new")
        assert up.token_counts.get(b"question") == 7
        assert (await authenticate(host, "status", "groq"))["data"]["ready"] is True


async def test_a_key_that_the_provider_refuses_is_not_valid() -> None:
    async with app.running(env={"OPENAI_API_KEY": KEY}) as host:
        host.http.answer_with({"error": {"message": f"Bad key {KEY}.", "code": "invalid_api_key"}}, 401)
        error = (await authenticate(host, "validate"))["error"]
        assert error["code"] == "auth_failed"
        assert KEY not in str(error)


async def test_a_login_that_there_is_not_is_refused() -> None:
    async with app.running() as host:
        for provider, params, param in (
            ("replay", {"api_key": KEY}, "provider"),
            ("openai", {}, "params.api_key"),
            ("openai", {"existing": True}, "params.existing"),
            ("openai", {"existing": True, "api_key": KEY}, "params.existing"),
        ):
            error = (await authenticate(host, "login", provider, **params))["error"]
            assert (error["code"], error["param"]) == ("invalid_request", param)


NEEDED = {
    "azure": ({"resource": "contoso"}, "https://contoso.openai.azure.com/openai/v1/models"),
    "bedrock": ({"region": "eu-west-1"}, "https://bedrock.eu-west-1.amazonaws.com/foundation-models"),
    "cloudflare": ({"account_id": "acc"}, "https://api.cloudflare.com/client/v4/accounts/acc/ai/"),
}


@pytest.mark.parametrize("provider", NEEDED)
async def test_a_login_says_and_takes_all_that_a_provider_needs_in_one_step(tmp_path: Path, provider: str) -> None:
    settings, url = NEEDED[provider]
    store_dir = str(tmp_path / "store")
    async with app.running(store_dir=store_dir) as host:
        (name,) = settings
        assert (await authenticate(host, "status", provider))["data"]["missing_settings"] == [name]
        error = (await authenticate(host, "login", provider))["error"]
        assert f"`params.api_key` and `params.settings.{name}`" in error["message"]
        error = (await authenticate(host, "login", provider, api_key=KEY))["error"]
        assert (error["code"], error["param"]) == ("invalid_request", f"params.settings.{name}")
        stored = await authenticate(host, "login", provider, api_key=KEY, settings=settings)
        assert stored["data"]["type"] == "done"
        described = (await authenticate(host, "status", provider))["data"]
        assert (described["ready"], "missing_settings" in described) == (True, False)
    async with app.running(store_dir=store_dir) as host:
        host.http.answer_with({"data": []})
        assert (await authenticate(host, "validate", provider))["data"]["valid"] is True
        assert host.http.asked[0].request.url.startswith(url)
        assert KEY in str(host.http.asked[0].request.headers)
        await authenticate(host, "logout", provider)
        assert (await authenticate(host, "status", provider))["data"]["missing_settings"] == list(settings)


async def test_a_stored_key_goes_to_no_other_resource_than_it_was_stored_with(tmp_path: Path) -> None:
    async with app.running(store_dir=str(tmp_path / "store")) as host:
        await authenticate(host, "login", "azure", api_key=KEY, settings={"resource": "contoso"})
        chat = {"model": "gpt-x", "messages": [{"role": "user", "content": "Hi"}], "settings": {"resource": "other"}}
        error = (await host.ask("generate", chat, provider="azure"))["error"]
        assert (error["code"], error["param"]) == ("invalid_request", "params.api_key")
        assert not host.http.asked


async def test_a_login_stores_no_setting_that_a_provider_does_not_have() -> None:
    async with app.running() as host:
        for provider, params, param in (
            ("azure", {"api_key": KEY, "settings": {"region": "x"}}, "params.settings.region"),
            ("azure", {"api_key": KEY, "settings": {"base_url": "https://x.test"}}, "params.settings.base_url"),
            ("azure", {"api_key": KEY, "settings": {"resource": "a.b/c"}}, "params.settings.resource"),
            ("azure", {"settings": {"resource": "contoso"}}, "params.api_key"),
        ):
            error = (await authenticate(host, "login", provider, **params))["error"]
            assert (error["code"], error["param"]) == ("invalid_request", param)


async def test_an_address_in_a_variable_is_no_place_for_a_stored_key_and_one_of_the_users_is(tmp_path: Path) -> None:
    endpoint = {"AZURE_OPENAI_ENDPOINT": "https://res.openai.azure.com"}
    async with app.running(store_dir=str(tmp_path / "a"), env=endpoint) as host:
        assert (await authenticate(host, "status", "azure"))["data"]["missing_settings"] == ["resource"]
        error = (await authenticate(host, "login", "azure", api_key=KEY))["error"]
        assert (error["code"], error["param"]) == ("invalid_request", "params.settings.resource")
    own = {"SIDECAR_AZURE_BASE_URL": "https://own.test/openai/v1"}
    async with app.running(store_dir=str(tmp_path / "b"), env=own) as host:
        assert "missing_settings" not in (await authenticate(host, "status", "azure"))["data"]
        assert (await authenticate(host, "login", "azure", api_key=KEY))["data"]["type"] == "done"
        host.http.answer_with({"data": []})
        assert (await authenticate(host, "validate", "azure"))["data"]["valid"] is True
