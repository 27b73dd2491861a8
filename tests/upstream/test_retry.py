"""Whether and when to ask again: which failures, how long the wait is, and what an outage may cost."""

import math
import random

import pytest

from protocol.errors import ErrorBody
from sidecar.core.errors import SidecarError
from sidecar.upstream.gates.retry import Retry, RetryBudget, choose_wait_ms, is_transient, plan_retry

HIGHEST = 1.0
LOWEST = 0.0


def error(code: str, **fields: object) -> ErrorBody:
    return SidecarError(code, "x", **fields).body  # type: ignore[arg-type]  # of a table


@pytest.fixture
def random_share(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the share of every range that is drawn, to be changed."""
    drawn = [HIGHEST]
    monkeypatch.setattr(random, "uniform", lambda low, high: low + (high - low) * drawn[0])
    return drawn


@pytest.mark.parametrize(
    ("body", "again"),
    [
        (error("rate_limited"), True),
        (error("provider_overloaded"), True),
        (error("provider_error"), True),
        (error("network_error"), True),
        (error("stream_interrupted"), True),
        (error("timeout", phase="connect"), True),
        (error("timeout", phase="headers"), True),
        (error("timeout", phase="idle"), False),
        (error("timeout", phase="progress"), False),
        (error("provider_error", retryable=False), False),
        (error("network_error", reason="tls", retryable=False), False),
        (error("queue_full"), False),
        (error("quota_exceeded"), False),
        (error("auth_failed"), False),
        (error("invalid_request"), False),
        (error("invalid_request", retryable=True), False),
        (error("invalid_request", retryable=True, provider_status=400), True),
        (error("internal_error"), False),
    ],
)
def test_only_transient_failures_are_retried(body: ErrorBody, again: bool) -> None:
    assert is_transient(body) is again
    assert (choose_wait_ms(body, 1, 3, math.inf) is not None) is again


@pytest.mark.parametrize(
    ("code", "longest_ms"),
    [
        ("rate_limited", [1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]),
        ("provider_overloaded", [1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]),
        ("provider_error", [500, 1000, 2000, 4000, 8000, 8000, 8000]),
        ("network_error", [500, 1000, 2000, 4000, 8000, 8000, 8000]),
    ],
)
def test_waits_are_random_and_their_longest_grows_up_to_a_cap(
    random_share: list[float], code: str, longest_ms: list[int]
) -> None:
    waits = [choose_wait_ms(error(code), attempt, 9, math.inf) for attempt in range(1, 8)]
    assert waits == longest_ms
    random_share[0] = LOWEST
    assert choose_wait_ms(error(code), 3, 9, math.inf) == 0


def test_a_retry_after_is_the_shortest_wait(random_share: list[float]) -> None:
    for retry_after_ms, longest_ms in [(100, 125), (2000, 2500), (20_000, 21_000), (60_000, 61_000)]:
        body = error("rate_limited", retry_after_ms=retry_after_ms)
        random_share[0] = LOWEST
        assert choose_wait_ms(body, 1, 3, math.inf) == retry_after_ms
        random_share[0] = HIGHEST
        assert choose_wait_ms(body, 1, 3, math.inf) == longest_ms
    assert choose_wait_ms(error("rate_limited", retry_after_ms=60_001), 1, 3, math.inf) is None


def test_no_wait_reaches_beyond_the_deadline(random_share: list[float]) -> None:
    random_share[0] = LOWEST
    body = error("provider_overloaded", retry_after_ms=500)
    assert choose_wait_ms(body, 1, 3, 1500) == 500
    assert choose_wait_ms(body, 1, 3, 1499) is None
    assert choose_wait_ms(error("network_error"), 1, 3, 900) is None


@pytest.mark.parametrize(
    ("body", "attempts"),
    [
        (error("network_error"), 3),
        (error("provider_error"), 3),
        (error("provider_error", reason="empty_response"), 3),
        (error("provider_error", reason="bad_event"), 2),
        (error("provider_error", reason="protocol"), 2),
        (error("provider_error", reason="unexpected_content_type"), 2),
        (error("provider_error", reason="event_too_large"), 1),
        (error("provider_error", reason="content_encoding"), 1),
    ],
)
def test_a_malformed_reply_is_retried_less_often(body: ErrorBody, attempts: int) -> None:
    assert next(number for number in range(1, 5) if choose_wait_ms(body, number, 3, math.inf) is None) == attempts
    assert choose_wait_ms(body, 1, 1, math.inf) is None


def spend(budget: RetryBudget, code: str) -> int:
    spent = 0
    while budget.take(error(code)) is not None:
        spent += 1
    return spent


@pytest.mark.parametrize(
    ("code", "retries"), [("provider_error", 35), ("provider_overloaded", 35), ("rate_limited", 100)]
)
def test_an_outage_exhausts_the_retry_budget(code: str, retries: int) -> None:
    budget = RetryBudget()
    assert spend(budget, code) == retries
    budget.give_back(0)
    assert budget.take(error(code)) is None or code == "rate_limited"


def test_a_success_gives_back_the_cost_of_its_retry() -> None:
    budget = RetryBudget()
    cost = budget.take(error("network_error"))
    assert cost == RetryBudget.TRANSIENT_COST
    budget.give_back(cost)
    budget.give_back(cost)
    assert budget.left == RetryBudget.FULL
    spend(budget, "network_error")
    left = budget.left
    budget.give_back(0)
    assert budget.left == left + 1


def test_a_retry_is_paid_for_unless_its_wait_is_too_long(random_share: list[float]) -> None:
    random_share[0] = LOWEST
    budget, body = RetryBudget(), error("provider_overloaded", retry_after_ms=500)
    assert plan_retry(body, 1, 3, math.inf, budget, max_wait_ms=499) is None
    assert budget.left == RetryBudget.FULL
    assert plan_retry(body, 1, 3, math.inf, budget, max_wait_ms=500) == Retry(500, RetryBudget.TRANSIENT_COST)
    assert budget.left == RetryBudget.FULL - RetryBudget.TRANSIENT_COST
    spend(budget, "provider_overloaded")
    assert plan_retry(body, 1, 3, math.inf, budget) is None
