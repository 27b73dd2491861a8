"""Requests and tokens per minute: what is left, what is taken, and what headers report."""

import math
from collections.abc import Mapping

import pytest

from sidecar.catalogue.limit_kinds import LimitKind
from sidecar.upstream.gates.token_buckets import (
    MAX_MODELS,
    MAX_REPORTED_WAIT_SECONDS,
    RateLimits,
    parse_duration_seconds,
    parse_reset_seconds,
)

NAMES: Mapping[LimitKind, str] = {"requests": "r-{}", "tokens": "t-{}"}
NOBODY: Mapping[LimitKind, int] = {"requests": 0, "tokens": 0}


def learn(headers: dict[str, str], in_flight: Mapping[LimitKind, int] = NOBODY) -> RateLimits:
    limits = RateLimits(0)
    limits.learn("m", headers, NAMES, in_flight, 0)
    return limits


def test_without_limits_there_is_no_wait() -> None:
    limits = RateLimits(0)
    assert (limits.compute_wait_seconds("m", 10**9, 0), limits.counts_tokens) == (0, False)


def test_the_users_limits_fill_up_steadily() -> None:
    limits = RateLimits(0, requests_per_minute=60, tokens_per_minute=600)
    for _ in range(60):
        assert limits.compute_wait_seconds("m", 5, 0) == 0
        limits.take("m", 5, 0)
    assert limits.compute_wait_seconds("m", 5, 0) == 1
    assert limits.compute_wait_seconds("m", 5, 0.75) == 0.25
    assert limits.compute_wait_seconds("any", 5, 1) == 0
    # Not beyond what they hold.
    limits.take("m", 5, 1000)
    assert limits.compute_wait_seconds("m", 5, 1000) == 0
    limits.take_tokens(1000, 1000)
    assert math.isclose(limits.compute_wait_seconds("m", 5, 1000), (1000 - 600 + 5 + 5) / 10)


def test_a_tenth_of_the_limit_is_enough_for_a_large_prompt() -> None:
    limits = RateLimits(0, tokens_per_minute=600)
    assert limits.compute_wait_seconds("m", 5000, 0) == 0
    limits.take("m", 700, 0)
    assert limits.compute_wait_seconds("m", 5000, 0) == 16
    assert limits.compute_wait_seconds("m", 20, 0) == 12
    assert limits.compute_wait_seconds("m", 5000, 16) == 0


def test_the_remaining_requests_are_used_before_any_wait() -> None:
    headers = {"r-limit": "100", "r-remaining": "2", "r-reset": "49s"}
    limits = learn(headers)
    for _ in range(2):
        assert limits.compute_wait_seconds("m", 0, 0) == 0
        limits.take("m", 0, 0)
    assert limits.compute_wait_seconds("m", 0, 0) == 0.5
    assert limits.compute_wait_seconds("another", 0, 0) == 0
    # Two that were let in before are perhaps not counted.
    assert learn(headers, {"requests": 2, "tokens": 0}).compute_wait_seconds("m", 0, 0) == 0.5


def test_a_prompt_waits_when_few_tokens_are_left() -> None:
    headers = {"t-limit": "1000", "t-remaining": "100", "t-reset": "9s"}
    assert learn(headers).compute_wait_seconds("m", 900, 0) == 0
    assert learn(headers).compute_wait_seconds("m", 5, 0) == 0
    headers = {"t-limit": "1000", "t-remaining": "0", "t-reset": "10s"}
    assert learn(headers).compute_wait_seconds("m", 900, 0) == 1
    assert learn(headers).compute_wait_seconds("m", 50, 0) == 0.5
    assert learn(headers).compute_wait_seconds("m", 0, 0) == 0.01
    assert learn(headers).counts_tokens


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
def test_headers_that_report_too_little_or_ask_for_too_much_cause_no_wait(headers: dict[str, str]) -> None:
    assert learn(headers).compute_wait_seconds("m", 5, 0) == 0


def test_headers_can_ask_for_the_longest_wait_but_not_more() -> None:
    assert (
        learn({"r-remaining": "0", "r-reset": f"{MAX_REPORTED_WAIT_SECONDS:.0f}"}).compute_wait_seconds("m", 5, 0)
        == MAX_REPORTED_WAIT_SECONDS
    )


def test_the_number_of_models_with_limits_is_bounded() -> None:
    limits = RateLimits(0)
    for number in range(3 * MAX_MODELS):
        limits.learn(f"m{number}", {"r-remaining": "0", "r-reset": "9"}, NAMES, NOBODY, 0)
        assert limits.compute_wait_seconds(f"m{number}", 0, 0) == 9
    assert len(limits._reported) <= MAX_MODELS  # noqa: SLF001 - not to be seen from outside


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
def test_a_reset_is_read_as_a_duration_or_as_a_time(text: str, date: str | None, seconds: float | None) -> None:
    assert parse_reset_seconds(text, date) == seconds


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
        ("9" * 320 + "h", None),
        ("9" * 320, None),
        ("1e13", None),
        ("nan", None),
        ("1d", None),
        ("s", None),
        ("1.2.3s", None),
        ("٣s", None),
    ],
)
def test_durations_are_read_in_every_unit(text: str, seconds: float | None) -> None:
    found = parse_duration_seconds(text)
    assert (found is None) is (seconds is None)
    assert found is None or math.isclose(found, seconds or 0)


@pytest.mark.parametrize("reset", ["9" * 320 + "h", "1e-300", "1e12", "0.0001ms"])
@pytest.mark.parametrize("remaining", ["0", "0.5", "1e12", "9" * 320])
def test_no_header_makes_a_wait_that_cannot_be_computed(reset: str, remaining: str) -> None:
    said = {"remaining": remaining, "reset": reset, "limit": "10"}
    headers = {template.format(field): value for template in NAMES.values() for field, value in said.items()}
    limits = learn(headers, {"requests": 3, "tokens": 0})
    for now in (0.0, 1.0, 1e6):
        assert 0 <= limits.compute_wait_seconds("m", 1000, now) <= MAX_REPORTED_WAIT_SECONDS
        limits.take("m", 1000, now)
