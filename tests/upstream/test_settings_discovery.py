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


async def resolve(up: Upstream, target_spec: TargetSpec) -> ResolvedProvider:
    return await settings_discovery.discover_settings(up, resolve_provider(up.setup, target_spec))


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[Lookup]:
    """Have every scheme know the region, and return its lookups."""
    lookups: list[Lookup] = []

    async def settings(_: str, lookup: Lookup) -> dict[str, str]:
        lookups.append(lookup)
        await anyio.lowlevel.checkpoint()
        return {"region": "eu-west-1"}

    monkeypatch.setattr(authorize, "find_settings", settings)
    return lookups


@pytest.mark.parametrize("provider", ["openai", "anthropic", "azure", "replay", "mine"])
async def test_nothing_is_looked_up_for_a_provider_without_such_settings(lookups: list[Lookup], provider: str) -> None:
    async with upstream.running(providers={"mine": {"wire": "openai_chat", "base_url": "https://mine.test"}}) as up:
        for target_spec in (spec(provider), spec(None, model=f"{provider}/m")):
            resolved = resolve_provider(up.setup, target_spec)
            assert await settings_discovery.discover_settings(up, resolved) is resolved
    assert not lookups


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
    lookups: list[Lookup], config: dict[str, Any], more: dict[str, Any]
) -> None:
    async with upstream.running(**config) as up:
        target = make_target(await resolve(up, spec(**more)))
    assert target.route.settings["region"] == "us-east-1"
    assert not lookups


async def test_a_missing_setting_is_looked_up_once_for_all_requests(lookups: list[Lookup]) -> None:
    regions: list[str] = []

    async with upstream.running() as up:

        async def ask() -> None:
            target = make_target(await resolve(up, spec()))
            regions.append(target.route.settings["region"])

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(ask)
        await resolve(up, spec("amazon-bedrock", model=None))
        assert up.setup.found.settings == {}
    assert regions == ["eu-west-1"] * 20
    assert [lookup.names for lookup in lookups] == [{"region"}]


async def test_an_answer_is_used_for_a_moment(lookups: list[Lookup], monkeypatch: pytest.MonkeyPatch) -> None:
    async with upstream.running() as up:
        await resolve(up, spec())
        later = anyio.current_time() + settings_discovery.FRESH_SECONDS + 1
        monkeypatch.setattr(anyio, "current_time", lambda: later)
        await resolve(up, spec())
    assert len(lookups) == 2


async def test_an_empty_answer_is_not_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[dict[str, str]] = [{}, {"region": "eu-west-1"}]

    async def settings(*_: object) -> dict[str, str]:
        return answers.pop(0)

    monkeypatch.setattr(authorize, "find_settings", settings)
    async with upstream.running() as up:
        assert "region" not in (await resolve(up, spec())).settings
        assert (await resolve(up, spec())).settings["region"] == "eu-west-1"


async def test_another_profile_or_credential_is_looked_up_anew(lookups: list[Lookup]) -> None:
    async with upstream.running() as up:
        for more in ({}, {"settings": {"profile": "work"}}, {"api_key": "another-key"}):
            for _ in range(2):
                await resolve(up, spec(**more))
    assert [lookup.settings.get("profile") for lookup in lookups] == [None, "work", None]
    assert [lookup.credential.reveal() for lookup in lookups if lookup.credential] == [
        *["made-up-key"] * 2,
        "another-key",
    ]


async def test_the_cache_is_bounded_and_its_keys_hold_no_secret(lookups: list[Lookup]) -> None:
    async with upstream.running() as up:
        for number in range(MAX_SETTINGS * 2 + 1):
            await resolve(up, spec(settings={"profile": f"p{number}"}))
        keys = list(up.discovered_settings)
        assert len(keys) == MAX_SETTINGS
        assert "made-up-key" not in repr(keys)
    assert len(lookups) == MAX_SETTINGS * 2 + 1


async def test_an_unknown_provider_is_refused() -> None:
    async with upstream.running() as up:
        with pytest.raises(SidecarError) as caught:
            await resolve(up, spec("nobody"))
    assert caught.value.body.code == "unknown_provider"
