"""How long a chat may take, by what it asks for, its model and its provider."""

import msgspec
import pytest

from protocol.options import Timeouts
from protocol.requests import Chat
from sidecar.catalogue.provider_rows import read_providers
from sidecar.config.values import Config
from sidecar.core.request_state import TOTAL_MS, RequestState
from sidecar.generation import timeouts
from sidecar.generation.timeouts import (
    DEFAULT_TIMEOUTS,
    LONG_TIMEOUTS,
    PINGED_IDLE_SECONDS,
    ChatTimeouts,
    choose_timeouts,
    set_deadline,
)
from sidecar.providers.resolve import make_target, resolve_provider
from sidecar.providers.setup import Setup
from sidecar.providers.values import Target, make_chat_spec
from sidecar.server.actions import ACTIONS, TaskAction

MESSAGES = [{"role": "user", "content": "Hi"}]

QUICK = ("openai", "gpt-4o")
THINKS = ("openai", "o3")


def target(provider: str, model: str, **more: str) -> Target:
    """Return the target of a chat."""
    chat = msgspec.convert({"model": model, "messages": MESSAGES, "api_key": "k"} | more, Chat)
    return make_target(resolve_provider(Setup(Config(path="")), make_chat_spec(provider, chat)))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (QUICK, DEFAULT_TIMEOUTS),
        (THINKS, LONG_TIMEOUTS),
        # What the catalogue does not know is not guessed.
        (("openai", "brand-new"), DEFAULT_TIMEOUTS),
        (
            ("anthropic", "claude-3-haiku-20240307"),
            msgspec.structs.replace(DEFAULT_TIMEOUTS, idle_seconds=PINGED_IDLE_SECONDS),
        ),
        (("anthropic", "claude-sonnet-5-5"), msgspec.structs.replace(LONG_TIMEOUTS, idle_seconds=PINGED_IDLE_SECONDS)),
        # At the user's own place: a model has to be loaded first.
        (("ollama", "brand-new"), LONG_TIMEOUTS),
    ],
)
def test_the_defaults_depend_on_model_and_provider(where: tuple[str, str], expected: ChatTimeouts) -> None:
    assert choose_timeouts(target(*where), None) == expected


def test_pings_do_not_shorten_timeouts_at_a_custom_address() -> None:
    moved = target("anthropic", "claude-sonnet-5-5", base_url="https://proxy.example.com")
    assert choose_timeouts(moved, None) == LONG_TIMEOUTS


def test_every_timeout_is_set_and_no_long_one_is_shorter() -> None:
    for name in ChatTimeouts.__struct_fields__:
        assert 0 < getattr(DEFAULT_TIMEOUTS, name) <= getattr(LONG_TIMEOUTS, name)
    for each in (DEFAULT_TIMEOUTS, LONG_TIMEOUTS):
        assert each.connect_seconds < each.first_byte_seconds < each.total_seconds
        assert max(each.idle_seconds, each.progress_seconds) < each.total_seconds
    assert DEFAULT_TIMEOUTS.first_byte_seconds < LONG_TIMEOUTS.first_byte_seconds


def test_a_requests_own_timeouts_override_the_defaults() -> None:
    wanted = Timeouts(connect_ms=1, first_byte_ms=2, idle_ms=3, progress_ms=4, total_ms=5)
    asked = ChatTimeouts(
        connect_seconds=0.001, first_byte_seconds=0.002, idle_seconds=0.003, progress_seconds=0.004, total_seconds=0.005
    )
    assert choose_timeouts(target(*THINKS), wanted) == asked
    some = choose_timeouts(target(*THINKS), Timeouts(idle_ms=7000))
    assert some == msgspec.structs.replace(LONG_TIMEOUTS, idle_seconds=7.0)
    assert (some.for_http.connect_seconds, some.for_http.first_byte_seconds, some.for_http.idle_seconds) == (
        5.0,
        600.0,
        7.0,
    )


def test_a_short_progress_timeout_shortens_the_idle_timeout() -> None:
    asked = choose_timeouts(target(*QUICK), Timeouts(progress_ms=1000))
    assert (asked.progress_seconds, asked.idle_seconds) == (1.0, 1.0)
    asked = choose_timeouts(target(*QUICK), Timeouts(progress_ms=2000, idle_ms=1000))
    assert (asked.progress_seconds, asked.idle_seconds) == (2.0, 1.0)
    asked = choose_timeouts(target(*QUICK), Timeouts(idle_ms=900_000))
    assert (asked.progress_seconds, asked.idle_seconds) == (DEFAULT_TIMEOUTS.progress_seconds, 900.0)


def test_the_providers_that_ping_are_known() -> None:
    assert {name for name, row in read_providers().items() if row.pings} == {"anthropic", "deepseek", "openrouter"}


@pytest.fixture
async def state() -> RequestState:
    """Return a request that has just come."""
    return RequestState("stream_chat")


def left_ms(state: RequestState) -> int:
    """Return what the request has left, to the nearest second."""
    return round(state.remaining_ms / 1000) * 1000


async def test_without_a_limit_of_its_own_a_request_gets_the_longest_grant(state: RequestState) -> None:
    state.grant(TOTAL_MS)
    set_deadline(state, target(*QUICK), None)
    assert (state.limit_ms, left_ms(state)) == (600_000, 600_000)
    # A fallback that reasons.
    set_deadline(state, target(*THINKS), None)
    assert (state.limit_ms, left_ms(state)) == (1_800_000, 1_800_000)
    set_deadline(state, target(*QUICK), None)
    assert (state.limit_ms, left_ms(state)) == (1_800_000, 1_800_000)


@pytest.mark.parametrize("wished_ms", [30_000, 7_200_000])
async def test_a_requests_own_limit_overrides_grants_and_the_shortest_counts(
    state: RequestState, wished_ms: int
) -> None:
    state.limit(wished_ms)
    state.grant(TOTAL_MS)
    set_deadline(state, target(*THINKS), None)
    assert (state.limit_ms, left_ms(state)) == (wished_ms, wished_ms)
    set_deadline(state, target(*THINKS), Timeouts(total_ms=20_000))
    assert (state.limit_ms, left_ms(state)) == (20_000, 20_000)
    state.limit(25_000)
    assert state.limit_ms == 20_000


async def test_an_option_may_ask_for_more_than_the_default(state: RequestState) -> None:
    state.grant(TOTAL_MS)
    set_deadline(state, target(*QUICK), Timeouts(total_ms=7_200_000))
    assert (state.limit_ms, left_ms(state)) == (7_200_000, 7_200_000)


def test_every_action_that_waits_has_a_time_limit() -> None:
    totals = {name: action.total_ms for name, action in ACTIONS.items() if isinstance(action, TaskAction)}
    # A login waits for the user, and a code is good for an hour at most.
    assert totals.pop("authenticate") > 3_600_000
    # A completion is of no use after a minute, and any number of texts may take an hour.
    assert (totals.pop("complete"), totals.pop("stream_complete"), totals.pop("embed")) == (60_000, 60_000, 3_600_000)
    assert set(totals.values()) == {TOTAL_MS}
    assert timeouts.DEFAULT_TIMEOUTS.total_seconds * 1000 == TOTAL_MS
