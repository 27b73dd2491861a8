"""The state of a request and of its parts: whose deadline and whose cancellation end what."""

import anyio
import pytest

from sidecar.core.request_state import RequestState, make_cancelled_error

pytestmark = pytest.mark.anyio


async def ended(part: RequestState) -> bool:
    """Return whether the scope of *part* was cancelled while it waited."""
    with part.scope, anyio.move_on_after(5):
        await anyio.sleep_forever()
    return part.scope.cancel_called


async def test_a_part_ends_alone() -> None:
    request = RequestState("compare")
    first, second = request.make_part("branch"), request.make_part("branch")
    first.cancel("cancelled")
    assert (first.ended_by, second.ended_by, request.ended_by) == ("cancelled", None, None)
    assert make_cancelled_error(first).body.code == "cancelled"


@pytest.mark.parametrize(
    ("reason", "code"), [("cancelled", "cancelled"), ("shutting_down", "shutting_down"), ("timeout", "timeout")]
)
async def test_the_end_of_a_request_is_the_end_of_its_parts(reason: str, code: str) -> None:
    request = RequestState("compare")
    request.limit(7000)
    part = request.make_part("branch").make_part("hedge")
    request.cancel(reason)  # type: ignore[arg-type]  # one of the reasons, as pytest gives it
    assert part.ended_by == reason
    assert part.is_cancelled_by_host == (reason == "cancelled")
    error = make_cancelled_error(part).body
    assert error.code == code
    assert ("7000 ms" in error.message) == (code == "timeout")


async def test_a_part_that_ended_says_why_even_when_the_request_ends_too() -> None:
    request = RequestState("compare")
    part = request.make_part("branch")
    part.cancel("timeout")
    request.cancel("cancelled")
    assert part.ended_by == "timeout"


async def test_a_part_keeps_to_the_limit_of_the_request() -> None:
    request = RequestState("compare")
    request.limit(20)
    part = request.make_part("branch")
    part.grant(60_000)
    assert part.remaining_ms <= 20
    assert await ended(part)


async def test_a_part_that_needs_longer_is_granted_that_by_the_request() -> None:
    request = RequestState("compare")
    request.grant(600_000)
    request.make_part("branch").grant(1_800_000)
    request.make_part("branch").limit(900_000)
    assert 1_790_000 < request.remaining_ms <= 1_800_000
    assert (request.limit_ms, request.limited) == (1_800_000, False)


async def test_a_limit_of_a_part_is_its_own() -> None:
    request = RequestState("compare")
    request.grant(600_000)
    part = request.make_part("branch")
    part.limit(10)
    assert await ended(part)
    assert request.ended_by is None
    assert make_cancelled_error(part).body.reason == "deadline"
