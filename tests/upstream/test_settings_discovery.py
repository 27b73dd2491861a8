"""When the machine is asked for settings that nobody has given, and for how long its answer is good."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import anyio
import msgspec
import pytest

from protocol.requests import Chat, ListModels
from sidecar.auth import authorize
from sidecar.auth.authorize import Lookup
from sidecar.config.values import Config
from sidecar.core.errors import SidecarError
from sidecar.core.single_flight import SingleFlight
from sidecar.providers import resolve
from sidecar.providers.setup import Setup
from sidecar.upstream import settings_discovery
from sidecar.upstream.context import Upstream

pytestmark = pytest.mark.anyio

KEY = {"api_key": "made-up-key"}


@asynccontextmanager
async def upstream(**config: Any) -> AsyncIterator[Upstream]:
    async with anyio.create_task_group() as tasks:
        setup = Setup(Config(path="", **config))
        made = SimpleNamespace(
            config=setup.config, setup=setup, http=None, sessions={}, single_flight=SingleFlight(tasks)
        )
        yield cast("Upstream", made)


def chat(**more: Any) -> Chat:
    return msgspec.convert({"model": "m", "messages": [{"role": "user", "content": "Hi"}]} | KEY | more, Chat)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Lookup]:
    """Have every scheme know the region, and return what it was asked for."""
    lookups: list[Lookup] = []

    async def settings(_: str, lookup: Lookup) -> dict[str, str]:
        lookups.append(lookup)
        await anyio.lowlevel.checkpoint()
        return {"region": "eu-west-1"}

    monkeypatch.setattr(authorize, "settings", settings)
    return lookups


@pytest.mark.parametrize("provider", ["openai", "anthropic", "azure", "replay", "mine"])
async def test_a_provider_without_such_settings_costs_nothing(asked: list[Lookup], provider: str) -> None:
    async with upstream(providers={"mine": {"wire": "openai_chat", "base_url": "https://mine.test"}}) as made:
        assert await settings_discovery.informed(made, provider, chat()) is made.setup
        assert await settings_discovery.informed(made, None, chat(model=f"{provider}/m")) is made.setup
    assert not asked


@pytest.mark.parametrize(
    ("config", "more"),
    [
        ({}, {"settings": {"region": "us-east-1"}}),
        ({"env": {"AWS_REGION": "us-east-1"}}, {}),
        ({"env": {"SIDECAR_BEDROCK_REGION": "us-east-1"}}, {}),
        ({"providers": {"bedrock": {"region": "us-east-1"}}}, {}),
    ],
)
async def test_what_is_given_is_not_asked_for(
    asked: list[Lookup], config: dict[str, Any], more: dict[str, Any]
) -> None:
    async with upstream(**config) as made:
        target = resolve.chat_target(
            await settings_discovery.informed(made, "bedrock", chat(**more)), "bedrock", chat(**more)
        )
    assert target.route.settings["region"] == "us-east-1"
    assert not asked


async def test_what_is_lacking_is_asked_for_once_for_all_who_need_it(asked: list[Lookup]) -> None:
    regions: list[str] = []

    async with upstream() as made:

        async def ask() -> None:
            target = resolve.chat_target(await settings_discovery.informed(made, "bedrock", chat()), "bedrock", chat())
            regions.append(target.route.settings["region"])

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(ask)
        await settings_discovery.informed(made, "amazon-bedrock", ListModels(api_key="made-up-key"))
        assert made.setup.found.settings == {}
    assert regions == ["eu-west-1"] * 20
    assert [lookup.lacking for lookup in asked] == [{"region"}]


async def test_an_answer_is_good_for_a_moment(asked: list[Lookup], monkeypatch: pytest.MonkeyPatch) -> None:
    async with upstream() as made:
        await settings_discovery.informed(made, "bedrock", chat())
        later = anyio.current_time() + settings_discovery.LOOK_SECONDS + 1
        monkeypatch.setattr(anyio, "current_time", lambda: later)
        await settings_discovery.informed(made, "bedrock", chat())
    assert len(asked) == 2


async def test_no_answer_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[dict[str, str]] = [{}, {"region": "eu-west-1"}]

    async def settings(*_: object) -> dict[str, str]:
        return answers.pop(0)

    monkeypatch.setattr(authorize, "settings", settings)
    async with upstream() as made:
        assert await settings_discovery.informed(made, "bedrock", chat()) is made.setup
        assert (await settings_discovery.informed(made, "bedrock", chat())).found.settings == {
            "bedrock": {"region": "eu-west-1"}
        }


async def test_another_profile_and_another_credential_are_other_questions(asked: list[Lookup]) -> None:
    async with upstream() as made:
        for more in ({}, {"settings": {"profile": "work"}}, {"api_key": "another-key"}):
            for _ in range(2):
                await settings_discovery.informed(made, "bedrock", chat(**more))
    assert [lookup.own.get("profile") for lookup in asked] == [None, "work", None]
    assert [lookup.credential.reveal() for lookup in asked if lookup.credential] == [
        *["made-up-key"] * 2,
        "another-key",
    ]


async def test_what_is_remembered_is_bounded_and_no_secret(asked: list[Lookup]) -> None:
    async with upstream() as made:
        for number in range(settings_discovery.MAX_KEPT * 2 + 1):
            await settings_discovery.informed(made, "bedrock", chat(settings={"profile": f"p{number}"}))
        kept = made.sessions[settings_discovery.__name__]
        assert len(kept) <= settings_discovery.MAX_KEPT
        assert "made-up-key" not in repr(made.sessions)
    assert len(asked) == settings_discovery.MAX_KEPT * 2 + 1


async def test_an_unknown_provider_is_refused_as_ever() -> None:
    async with upstream() as made:
        with pytest.raises(SidecarError) as caught:
            await settings_discovery.informed(made, "nobody", chat())
    assert caught.value.body.code == "unknown_provider"
