"""`list_providers` and `list_models`: what there is to ask, and what keeps it from being asked."""

import time
from pathlib import Path

from tests.support import app
from tests.support.app import Host
from tests.support.lines import CANARY, Object

LISTED = {"object": "list", "data": [{"id": "gpt-4o", "object": "model"}]}


async def provider_info(host: Host, name: str) -> Object:
    listed = (await host.ask("list_providers"))["data"]["providers"]
    (found,) = (each for each in listed if each["id"] == name)
    return dict(found)


async def test_a_provider_is_ready_once_its_key_is_set() -> None:
    async with app.running() as host:
        info = await provider_info(host, "openai")
        assert (info["ready"], info["credential_source"], info["built_in"]) == (False, None, True)
        assert "OPENAI_API_KEY" in info["env"]
        assert info["logins"] == ["api_key"]
    async with app.running(env={"OPENAI_API_KEY": CANARY}) as host:
        info = await provider_info(host, "openai")
        assert (info["ready"], info["method"], info["credential_source"]) == (True, "api_key", "environment")
        assert CANARY not in str(info)


async def test_a_provider_of_the_users_own_is_listed() -> None:
    table = {"wire": "openai_chat", "base_url": "https://lab.test/v1", "api_key_env": "LAB_KEY"}
    async with app.running(providers={"lab": table}) as host:
        info = await provider_info(host, "lab")
        assert (info["built_in"], info["env"]) == (False, ["LAB_KEY"])


async def test_a_key_that_cannot_be_used_is_a_problem() -> None:
    async with app.running(env={"OPENAI_API_KEY": "two\nlines"}) as host:
        info = await provider_info(host, "openai")
        assert info["ready"] is False
        assert "lines" not in info["problem"]


async def test_a_list_is_asked_for_once_and_then_remembered() -> None:
    async with app.running(env={"OPENAI_API_KEY": CANARY}) as host:
        host.http.answer_with(LISTED)
        first = (await host.ask("list_models", provider="openai"))["data"]
        second = (await host.ask("list_models", provider="openai"))["data"]
        assert [each["id"] for each in first["models"]] == ["gpt-4o"]
        assert (first["source"], second["source"]) == ("provider", "cache")
        assert len(host.http.asked) == 1


async def test_a_thousand_questions_for_the_providers_are_answered_at_once_and_anew_after_a_login(
    tmp_path: Path,
) -> None:
    async with app.running(store_dir=str(tmp_path / "store")) as host:
        await host.ask("list_providers")
        began = time.process_time()
        for _ in range(200):
            await host.ask("list_providers")
        # Describing them anew takes five times as long.
        assert time.process_time() - began < 0.2
        assert (await provider_info(host, "openai"))["ready"] is False
        await host.ask("authenticate", {"op": "login", "api_key": CANARY}, provider="openai")
        assert (await provider_info(host, "openai"))["ready"] is True
