"""Requests and tokens a minute: what is left, what is drawn, and what headers say of it."""

import math
from collections.abc import Mapping

import pytest

from sidecar.catalogue.limit_kinds import LimitKind
from sidecar.upstream.gates.token_buckets import MAX_MODELS, MAX_WAIT_SECONDS, Meters, seconds_of, seconds_until

NAMES: Mapping[LimitKind, str] = {"requests": "r-{}", "tokens": "t-{}"}
NOBODY: Mapping[LimitKind, int] = {"requests": 0, "tokens": 0}


def learned(headers: dict[str, str], unheard: Mapping[LimitKind, int] = NOBODY) -> Meters:
    meters = Meters(0)
    meters.learn("m", headers, NAMES, unheard, 0)
    return meters


def test_nothing_known_is_no_wait() -> None:
    meters = Meters(0)
    assert (meters.wait_seconds("m", 10**9, 0), meters.counts_tokens, meters.differ) == (0, False, False)


def test_the_users_own_fill_up_steadily() -> None:
    meters = Meters(0, requests_per_minute=60, tokens_per_minute=600)
    for _ in range(60):
        assert meters.wait_seconds("m", 5, 0) == 0
        meters.draw("m", 5, 0)
    assert meters.wait_seconds("m", 5, 0) == 1
    assert meters.wait_seconds("m", 5, 0.75) == 0.25
    assert meters.wait_seconds("any", 5, 1) == 0
    # Not beyond what they hold.
    meters.draw("m", 5, 1000)
    assert meters.wait_seconds("m", 5, 1000) == 0
    meters.used(1000, 1000)
    assert math.isclose(meters.wait_seconds("m", 5, 1000), (1000 - 600 + 5 + 5) / 10)


def test_a_large_prompt_goes_when_a_tenth_of_the_tokens_is_there() -> None:
    meters = Meters(0, tokens_per_minute=600)
    assert meters.wait_seconds("m", 5000, 0) == 0
    meters.draw("m", 700, 0)
    assert meters.wait_seconds("m", 5000, 0) == 16
    assert meters.wait_seconds("m", 20, 0) == 12
    assert meters.wait_seconds("m", 5000, 16) == 0


def test_what_is_left_goes_before_anybody_waits() -> None:
    headers = {"r-limit": "100", "r-remaining": "2", "r-reset": "49s"}
    meters = learned(headers)
    for _ in range(2):
        assert meters.wait_seconds("m", 0, 0) == 0
        meters.draw("m", 0, 0)
    assert meters.wait_seconds("m", 0, 0) == 0.5
    assert meters.wait_seconds("another", 0, 0) == 0
    # Two that were let in before are perhaps not counted.
    assert learned(headers, {"requests": 2, "tokens": 0}).wait_seconds("m", 0, 0) == 0.5


def test_tokens_are_waited_for_when_few_are_left() -> None:
    headers = {"t-limit": "1000", "t-remaining": "100", "t-reset": "9s"}
    assert learned(headers).wait_seconds("m", 900, 0) == 0
    assert learned(headers).wait_seconds("m", 5, 0) == 0
    headers = {"t-limit": "1000", "t-remaining": "0", "t-reset": "10s"}
    assert learned(headers).wait_seconds("m", 900, 0) == 1
    assert learned(headers).wait_seconds("m", 50, 0) == 0.5
    assert learned(headers).wait_seconds("m", 0, 0) == 0.01
    assert learned(headers).counts_tokens


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"r-remaining": "0"},
        {"r-reset": "1s"},
        {"r-remaining": "0", "r-reset": "soon"},
        {"r-remaining": "none", "r-reset": "1s"},
        {"r-remaining": "0", "r-reset": "2h"},
        {"r-remaining": "0", "r-reset": "2026-11-20T12:00:30Z"},
        {"r-remaining": "7", "r-reset": "0s"},
    ],
)
def test_what_says_too_little_or_asks_for_too_much_is_no_wait(headers: dict[str, str]) -> None:
    assert learned(headers).wait_seconds("m", 5, 0) == 0


def test_the_longest_wait_that_headers_can_ask_for() -> None:
    assert (
        learned({"r-remaining": "0", "r-reset": f"{MAX_WAIT_SECONDS:.0f}"}).wait_seconds("m", 5, 0) == MAX_WAIT_SECONDS
    )


def test_the_models_that_are_remembered_are_bounded() -> None:
    meters = Meters(0)
    for number in range(3 * MAX_MODELS):
        meters.learn(f"m{number}", {"r-remaining": "0", "r-reset": "9"}, NAMES, NOBODY, 0)
        assert meters.wait_seconds(f"m{number}", 0, 0) == 9
    assert len(meters._learned) <= MAX_MODELS  # noqa: SLF001 - not to be seen from outside


@pytest.mark.parametrize(
    ("text", "date", "seconds"),
    [
        ("2026-11-20T12:00:30Z", "Fri, 20 Nov 2026 12:00:00 GMT", 30),
        ("2026-11-20T12:00:30+01:00", "Fri, 20 Nov 2026 12:00:00 GMT", 0),
        ("1m30s", None, 90),
        ("2026-11-20T12:00:30Z", None, None),
        ("2026-11-20T12:00:30Z", "today", None),
        ("2026-11-20T12:00:30", "Fri, 20 Nov 2026 12:00:00 GMT", None),
        ("", "Fri, 20 Nov 2026 12:00:00 GMT", None),
    ],
)
def test_a_reset_is_a_duration_or_a_time(text: str, date: str | None, seconds: float | None) -> None:
    assert seconds_until(text, date) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("6m0s", 360),
        ("20ms", 0.02),
        ("2m59.56s", 179.56),
        ("1h2m3s", 3723),
        ("12", 12),
        (" 0.5 ", 0.5),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("inf", None),
        ("nan", None),
        ("1d", None),
        ("s", None),
        ("1.2.3s", None),
        ("٣s", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    found = seconds_of(text)
    assert (found is None) is (seconds is None)
    assert found is None or math.isclose(found, seconds or 0)
