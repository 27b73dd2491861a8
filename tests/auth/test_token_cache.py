"""How long a token is kept, when it is minted again, and what of it is forgotten."""

import threading
from collections.abc import Callable

import anyio
import pytest
from anyio.abc import TaskGroup

from sidecar.auth import token_cache
from sidecar.auth.token_cache import MIN_AGE_SECONDS, Key, Minted, Terms, TokenCache, fingerprint
from sidecar.core.errors import SidecarError
from sidecar.core.secret import Secret
from sidecar.core.single_flight import SingleFlight
from tests.support.scheme_calls import TokenClock

KEY = Key("bearer", "mylab")
TERMS = Terms(limit_seconds=5, early_seconds=120)


@pytest.fixture
def cache(tasks: TaskGroup) -> TokenCache:
    return TokenCache(SingleFlight(tasks))


class Mint:
    """Mints `token-1`, `token-2` and so on, each of the same life; `held` keeps it waiting."""

    def __init__(self, life_seconds: float | None = 3600) -> None:
        self.life_seconds = life_seconds
        self.count = 0
        self.held: anyio.Event | None = None

    async def __call__(self) -> Minted[str]:
        self.count += 1
        if self.held is not None:
            await self.held.wait()
        return Minted(f"token-{self.count}", self.life_seconds)


# --- minting ---------------------------------------------------------------------------------


async def test_a_token_is_kept(cache: TokenCache) -> None:
    mint = Mint()
    assert [await cache.get(KEY, mint, TERMS) for _ in range(3)] == ["token-1"] * 3


async def test_many_who_ask_at_once_get_one_token(cache: TokenCache) -> None:
    mint, got = Mint(), list[str]()

    async def ask() -> None:
        got.append(await cache.get(KEY, mint, TERMS))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask)
    assert got == ["token-1"] * 20


async def test_a_request_that_is_cancelled_leaves_the_minting_to_the_others(cache: TokenCache) -> None:
    mint = Mint()
    mint.held = anyio.Event()
    with anyio.move_on_after(0.01):
        await cache.get(KEY, mint, TERMS)
    mint.held.set()
    with anyio.fail_after(5):
        assert await cache.get(KEY, mint, TERMS) == "token-1"


@pytest.mark.parametrize(
    "other",
    [
        Key("azure", "mylab"),
        Key("bearer", "another"),
        Key("bearer", "mylab", fingerprint(Secret("a-credential", "request"))),
        Key("bearer", "mylab", source="another"),
    ],
)
async def test_another_scheme_provider_credential_or_source_has_a_token_of_its_own(
    cache: TokenCache, other: Key
) -> None:
    mint = Mint()
    assert [await cache.get(key, mint, TERMS) for key in (KEY, other, KEY)] == ["token-1", "token-2", "token-1"]


async def test_a_failure_reaches_each_who_waits_and_is_not_kept(cache: TokenCache) -> None:
    async def fail() -> Minted[str]:
        raise SidecarError("auth_failed", "No.")

    for _ in range(2):
        with pytest.raises(SidecarError, match="No"):
            await cache.get(KEY, fail, TERMS)
    assert await cache.get(KEY, Mint(), TERMS) == "token-1"


async def test_a_token_that_does_not_come_in_time_is_a_timeout(cache: TokenCache) -> None:
    mint = Mint()
    mint.held = anyio.Event()
    with pytest.raises(SidecarError) as caught:
        await cache.get(KEY, mint, Terms(limit_seconds=0.01))
    assert (caught.value.body.code, caught.value.body.phase) == ("timeout", "headers")


async def test_a_thread_that_hangs_is_not_joined_by_another(cache: TokenCache) -> None:
    release, started = threading.Event(), list[None]()

    def hang() -> str:
        started.append(None)
        release.wait(30)
        return "token"

    async def mint() -> Minted[str]:
        return Minted(await cache.run_in_thread(KEY, hang), None)

    try:
        for _ in range(3):
            with pytest.raises(SidecarError, match="in time"):
                await cache.get(KEY, mint, Terms(limit_seconds=0.05))
        assert len(started) == 1
    finally:
        release.set()


# --- time ------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["monotonic", "time"])
async def test_a_token_is_replaced_before_it_expires_by_either_clock(
    cache: TokenCache, token_clock: TokenClock, which: str
) -> None:
    mint = Mint(life_seconds=600)
    await cache.get(KEY, mint, TERMS)
    token_clock.pass_by(470, which)
    assert await cache.get(KEY, mint, TERMS) == "token-1"
    token_clock.pass_by(20, which)
    assert await cache.get(KEY, mint, TERMS) == "token-2"


async def test_a_token_of_a_short_life_is_used_for_a_minute(cache: TokenCache, token_clock: TokenClock) -> None:
    mint = Mint(life_seconds=1)
    await cache.get(KEY, mint, TERMS)
    token_clock.pass_by(MIN_AGE_SECONDS - 1)
    assert await cache.get(KEY, mint, TERMS) == "token-1"
    token_clock.pass_by(2)
    assert await cache.get(KEY, mint, TERMS) == "token-2"


async def test_a_scheme_may_have_a_short_lived_token_minted_each_time(cache: TokenCache) -> None:
    mint, terms = Mint(life_seconds=0), Terms(limit_seconds=5, min_use_seconds=0)
    assert [await cache.get(KEY, mint, terms) for _ in range(2)] == ["token-1", "token-2"]


async def test_a_token_without_an_end_is_kept_for_good(cache: TokenCache, token_clock: TokenClock) -> None:
    mint = Mint(life_seconds=None)
    await cache.get(KEY, mint, TERMS)
    token_clock.pass_by(1e9)
    assert await cache.get(KEY, mint, TERMS) == "token-1"


# --- refusals --------------------------------------------------------------------------------


def is_(refused: str) -> Callable[[str], bool]:
    return lambda token: token == refused


async def test_a_refused_token_is_replaced_once_it_is_a_minute_old(cache: TokenCache, token_clock: TokenClock) -> None:
    mint = Mint()
    await cache.get(KEY, mint, TERMS)
    assert await cache.replace(KEY, mint, TERMS) is None
    assert await cache.replace(KEY, mint, TERMS, is_("token-1")) is None
    token_clock.pass_by(MIN_AGE_SECONDS)
    assert await cache.replace(KEY, mint, TERMS, is_("token-1")) == "token-2"
    assert await cache.replace(KEY, mint, TERMS, is_("token-2")) is None
    token_clock.pass_by(MIN_AGE_SECONDS)
    assert await cache.replace(KEY, mint, TERMS) == "token-3"


@pytest.mark.parametrize("is_refused", [None, is_("token-1")], ids=["unknown", "known"])
async def test_a_late_refusal_gets_the_token_that_another_has_had_minted(
    cache: TokenCache, token_clock: TokenClock, is_refused: Callable[[str], bool] | None
) -> None:
    mint = Mint()
    await cache.get(KEY, mint, TERMS)
    token_clock.pass_by(MIN_AGE_SECONDS)
    for _ in range(3):
        assert await cache.replace(KEY, mint, TERMS, is_refused) == "token-2"


async def test_a_token_that_is_not_kept_is_not_replaced(cache: TokenCache) -> None:
    assert await cache.replace(KEY, Mint(), TERMS) is None


# --- forgetting ------------------------------------------------------------------------------


async def test_a_provider_is_forgotten_and_no_other(cache: TokenCache) -> None:
    keys = [KEY, Key("bearer", "mylab", source=2), Key("bearer", "another")]
    for key in keys:
        await cache.get(key, Mint(), TERMS)
    cache.forget_provider("mylab")
    assert [cache.peek(key) for key in keys] == [None, None, "token-1"]


async def test_a_token_of_a_provider_that_is_forgotten_meanwhile_is_not_kept(cache: TokenCache) -> None:
    mint, got = Mint(), list[str]()
    mint.held = anyio.Event()

    async def ask() -> None:
        got.append(await cache.get(KEY, mint, TERMS))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        cache.forget_provider("mylab")
        mint.held.set()
    assert got == ["token-1"]
    assert cache.peek(KEY) is None


async def test_what_was_used_longest_ago_goes_first(cache: TokenCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_cache, "MAX_TOKENS", 2)
    keys = [Key("bearer", "mylab", source=number) for number in range(3)]
    for key in (keys[0], keys[1], keys[0], keys[2]):
        await cache.get(key, Mint(), TERMS)
    assert [cache.peek(key) for key in keys] == ["token-1", None, "token-1"]


async def test_no_secret_shows_itself() -> None:
    credential = Secret("canary-0123456789", "request")
    shown = repr((Minted("canary-0123456789", 1), Key("bearer", "mylab", fingerprint(credential))))
    assert "canary" not in shown
