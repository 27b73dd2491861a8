"""When settings that nobody has set are looked up, and how long an answer is used."""

from typing import Any

import anyio
import msgspec
import pytest

from sidecar.auth import authorize
from sidecar.auth.scheme import Lookup
from sidecar.core.errors import SidecarError
from sidecar.providers.resolve import make_target, resolve_provider
from sidecar.providers.values import ResolvedProvider, TargetSpec
from sidecar.upstream import settings_discovery
from sidecar.upstream.caches import MAX_SETTINGS
from sidecar.upstream.context import Upstream
from tests.support import upstream

pytestmark = pytest.mark.anyio


def spec(provider: str | None = "bedrock", **more: Any) -> TargetSpec:
    return msgspec.convert({"provider": provider, "model": "m", "api_key": "made-up-key"} | more, TargetSpec)


async def resolve(up: Upstream, asked: TargetSpec) -> ResolvedProvider:
    return await settings_discovery.discover_settings(up, resolve_provider(up.setup, asked))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Lookup]:
    """Have every scheme know the region, and return what it was asked for."""
    lookups: list[Lookup] = []

    async def settings(_: str, lookup: Lookup) -> dict[str, str]:
        lookups.append(lookup)
        await anyio.lowlevel.checkpoint()
        return {"region": "eu-west-1"}

    monkeypatch.setattr(authorize, "find_settings", settings)
    return lookups


@pytest.mark.parametrize("provider", ["openai", "anthropic", "azure", "replay", "mine"])
async def test_nothing_is_looked_up_for_a_provider_without_such_settings(asked: list[Lookup], provider: str) -> None:
    async with upstream.running(providers={"mine": {"wire": "openai_chat", "base_url": "https://mine.test"}}) as made:
        for wanted in (spec(provider), spec(None, model=f"{provider}/m")):
            resolved = resolve_provider(made.setup, wanted)
            assert await settings_discovery.discover_settings(made, resolved) is resolved
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
async def test_a_setting_that_is_set_is_not_looked_up(
    asked: list[Lookup], config: dict[str, Any], more: dict[str, Any]
) -> None:
    async with upstream.running(**config) as made:
        target = make_target(await resolve(made, spec(**more)))
    assert target.route.settings["region"] == "us-east-1"
    assert not asked


async def test_a_missing_setting_is_looked_up_once_for_all_requests(asked: list[Lookup]) -> None:
    regions: list[str] = []

    async with upstream.running() as made:

        async def ask() -> None:
            target = make_target(await resolve(made, spec()))
            regions.append(target.route.settings["region"])

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(ask)
        await resolve(made, spec("amazon-bedrock", model=None))
        assert made.setup.found.settings == {}
    assert regions == ["eu-west-1"] * 20
    assert [lookup.names for lookup in asked] == [{"region"}]


async def test_an_answer_is_used_for_a_moment(asked: list[Lookup], monkeypatch: pytest.MonkeyPatch) -> None:
    async with upstream.running() as made:
        await resolve(made, spec())
        later = anyio.current_time() + settings_discovery.FRESH_SECONDS + 1
        monkeypatch.setattr(anyio, "current_time", lambda: later)
        await resolve(made, spec())
    assert len(asked) == 2


async def test_an_empty_answer_is_not_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[dict[str, str]] = [{}, {"region": "eu-west-1"}]

    async def settings(*_: object) -> dict[str, str]:
        return answers.pop(0)

    monkeypatch.setattr(authorize, "find_settings", settings)
    async with upstream.running() as made:
        assert "region" not in (await resolve(made, spec())).settings
        assert (await resolve(made, spec())).settings["region"] == "eu-west-1"


async def test_another_profile_or_credential_is_looked_up_anew(asked: list[Lookup]) -> None:
    async with upstream.running() as made:
        for more in ({}, {"settings": {"profile": "work"}}, {"api_key": "another-key"}):
            for _ in range(2):
                await resolve(made, spec(**more))
    assert [lookup.settings.get("profile") for lookup in asked] == [None, "work", None]
    assert [lookup.credential.reveal() for lookup in asked if lookup.credential] == [
        *["made-up-key"] * 2,
        "another-key",
    ]


async def test_the_cache_is_bounded_and_its_keys_hold_no_secret(asked: list[Lookup]) -> None:
    async with upstream.running() as made:
        for number in range(MAX_SETTINGS * 2 + 1):
            await resolve(made, spec(settings={"profile": f"p{number}"}))
        keys = list(made.discovered_settings)
        assert len(keys) == MAX_SETTINGS
        assert "made-up-key" not in repr(keys)
    assert len(asked) == MAX_SETTINGS * 2 + 1


async def test_an_unknown_provider_is_refused() -> None:
    async with upstream.running() as made:
        with pytest.raises(SidecarError) as caught:
            await resolve(made, spec("nobody"))
    assert caught.value.body.code == "unknown_provider"
