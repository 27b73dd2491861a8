"""Which requests wait at a gate for limits on requests and tokens per minute, and which go ahead."""

from collections.abc import Mapping

import anyio
import pytest
from anyio.abc import TaskGroup

from sidecar.catalogue.limit_kinds import LimitKind
from sidecar.upstream.gates.gate import Gate, Priority
from tests.support.gates import Clock, list_active, run_ready_tasks, start_requests

NAMES: Mapping[LimitKind, str] = {"requests": "x-{}-requests", "tokens": "x-{}-tokens"}


@pytest.mark.long
async def test_headers_that_leave_nothing_block_requests_for_their_model(tasks: TaskGroup) -> None:
    gate = Gate()
    async with gate.hold_slot("interactive", model="m") as turn:
        turn.learn_limits({"x-remaining-tokens": "0", "x-reset-tokens": "300ms"}, NAMES)
        # Of another model they say nothing.
        [other] = await start_requests(tasks, gate, 1, model="other")
        assert other.admitted.is_set()
        [request] = await start_requests(tasks, gate, 1)
        assert not request.admitted.is_set()
        [third] = await start_requests(tasks, gate, 1, model="other")
        assert third.admitted.is_set()
    with anyio.fail_after(1):
        await request.admitted.wait()


async def test_a_queue_that_waits_for_its_models_own_limit_is_shown(tasks: TaskGroup) -> None:
    gate = Gate()
    async with gate.hold_slot("interactive", model="m") as turn:
        turn.learn_limits({"x-remaining-tokens": "0", "x-reset-tokens": "30s"}, NAMES)
    assert (gate.state.state, gate.state.retry_after_ms) == ("closed", None)
    [request] = await start_requests(tasks, gate, 1)
    assert (gate.state.state, gate.state.queued) == ("limited", 1)
    assert 0 < (gate.state.retry_after_ms or 0) <= 30_001
    # Of another model they may enter.
    [other] = await start_requests(tasks, gate, 1, model="other")
    assert other.admitted.is_set()
    assert not request.admitted.is_set()


async def test_no_more_requests_enter_than_the_headers_leave(tasks: TaskGroup) -> None:
    gate = Gate()
    headers = {"x-limit-requests": "100", "x-remaining-requests": "3", "x-reset-requests": "9.7"}
    async with gate.hold_slot("interactive", model="m") as turn:
        turn.learn_limits(headers, NAMES)
    requests = await start_requests(tasks, gate, 10)
    assert list_active(requests) == [0, 1, 2]
    assert gate.state.queued == 7
    # Ten more a second.
    with anyio.fail_after(1):
        await requests[3].admitted.wait()
    assert not requests[9].admitted.is_set()


async def test_the_users_limit_on_requests_per_minute_holds(tasks: TaskGroup, clock: Clock) -> None:
    gate = Gate(requests_per_minute=2)
    requests = await start_requests(tasks, gate, 4)
    assert list_active(requests) == [0, 1]
    assert gate.state.retry_after_ms == 30_001
    for request in requests[:2]:
        await request.leave()
    assert list_active(requests) == []
    clock.now += 30
    gate._on_timer()  # noqa: SLF001 - the timer is of another clock
    await run_ready_tasks()
    assert list_active(requests) == [2]


async def test_the_users_limit_on_tokens_per_minute_holds(tasks: TaskGroup, clock: Clock) -> None:
    gate = Gate(tokens_per_minute=1000)
    assert gate.counts_tokens
    async with gate.hold_slot("interactive", tokens=600) as turn:
        turn.report_tokens(2500)
    [request] = await start_requests(tasks, gate, 1)
    # 1500 too many, and one token at least, at 1000 a minute.
    assert (list_active([request]), gate.state.retry_after_ms) == ([], 90_060)
    clock.now += 89
    gate._on_timer()  # noqa: SLF001 - the timer is of another clock
    assert not request.admitted.is_set()
    clock.now += 2
    gate._on_timer()  # noqa: SLF001 - the timer is of another clock
    await request.admitted.wait()


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("priority", ["interactive", "background"])
async def test_small_requests_do_not_starve_a_large_one(
    tasks: TaskGroup, clock: Clock, priority: Priority, learned: bool
) -> None:
    gate = Gate() if learned else Gate(tokens_per_minute=6000)
    async with gate.hold_slot("interactive", model="m", tokens=0) as turn:
        if learned:
            headers = {"x-limit-tokens": "6000", "x-remaining-tokens": "0", "x-reset-tokens": "60"}
            turn.learn_limits(headers, {"tokens": "x-{}-tokens"})
        else:
            turn.report_tokens(6000)
    [large] = await start_requests(tasks, gate, 1, tokens=600)
    small = await start_requests(tasks, gate, 20, priority, tokens=100)
    for _ in range(6):
        assert list_active([large, *small]) == []
        # A hundred tokens more: enough for a small one.
        clock.now += 1
        gate._on_timer()  # noqa: SLF001 - the timer is of another clock
        await run_ready_tasks()
    assert list_active([large, *small]) == [0]


async def test_a_request_for_another_model_does_not_overtake_one_that_waits_for_a_shared_limit(
    tasks: TaskGroup, clock: Clock
) -> None:
    gate = Gate(tokens_per_minute=6000)
    async with gate.hold_slot("interactive", model="m") as turn:
        turn.report_tokens(6000)
        turn.learn_limits({"x-remaining-requests": "9", "x-reset-requests": "9"}, NAMES)
    [large] = await start_requests(tasks, gate, 1, tokens=600)
    [small] = await start_requests(tasks, gate, 1, model="other", tokens=100)
    clock.now += 3
    gate._on_timer()  # noqa: SLF001 - the timer is of another clock
    await run_ready_tasks()
    assert list_active([large, small]) == []
    clock.now += 3
    gate._on_timer()  # noqa: SLF001 - the timer is of another clock
    await run_ready_tasks()
    assert list_active([large, small]) == [0]


async def test_requests_do_not_wait_behind_a_cancelled_one(tasks: TaskGroup) -> None:
    gate = Gate(tokens_per_minute=6_000_000)
    async with gate.hold_slot("interactive") as turn:
        turn.report_tokens(6_000_000)
    async with anyio.create_task_group() as cancelled:
        # It would take six seconds, the other one a hundredth of one.
        await start_requests(cancelled, gate, 1, tokens=1_000_000)
        [small] = await start_requests(tasks, gate, 1, tokens=1000)
        cancelled.cancel_scope.cancel()
    with anyio.fail_after(2):
        await small.admitted.wait()


async def test_requests_in_flight_count_against_the_limits_of_their_own_model_only(
    tasks: TaskGroup, clock: Clock
) -> None:
    gate = Gate()
    silent = await start_requests(tasks, gate, 30, model="thinks")
    headers = {"x-limit-requests": "60", "x-remaining-requests": "20", "x-reset-requests": "40"}
    async with gate.hold_slot("interactive", model="m") as turn:
        turn.learn_limits(headers, NAMES)
    assert gate.compute_delay_ms("m", 0) is None
    # Those of its own are.
    async with gate.hold_slot("interactive", model="thinks") as turn:
        turn.learn_limits(headers, NAMES)
    assert gate.compute_delay_ms("thinks", 0) == 11_001
    for request in silent:
        await request.leave()
    assert gate._in_flight == {}  # noqa: SLF001 - what would stay for good
    clock.now += 11
    assert gate.compute_delay_ms("thinks", 0) is None


async def test_a_credential_with_requests_left_for_the_model_ranks_first() -> None:
    spent, fresh = Gate(), Gate()
    async with spent.hold_slot("interactive", model="m") as turn:
        turn.learn_limits({"x-remaining-requests": "0", "x-reset-requests": "30"}, NAMES)
    for _ in range(3):
        async with fresh.hold_slot("interactive", model="m"):
            pass
    assert fresh.rank("m") < spent.rank("m")
    assert spent.rank("other") < fresh.rank("other")
