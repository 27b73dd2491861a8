"""The gate of one provider and credential: slots, lanes, rate limits and the breaker."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NoReturn

import anyio
import pytest
from anyio.abc import TaskGroup

from sidecar.core.errors import SidecarError
from sidecar.upstream.gates.breaker import MAX_FAILURES, OPEN_SECONDS
from sidecar.upstream.gates.gate import COOLDOWN_SECONDS, Gate, Priority
from tests.support.gates import Clock, list_active, run_ready_tasks, start_requests

BLOCKED_SECONDS = 0.03
"""How long a gate is blocked, in seconds."""


async def test_requests_beyond_the_slots_wait_and_enter_in_order(tasks: TaskGroup) -> None:
    gate = Gate(concurrency=2)
    requests = await start_requests(tasks, gate, 4)
    assert list_active(requests) == [0, 1]
    assert (gate.state.active, gate.state.queued, gate.is_free) == (2, 2, False)
    await requests[1].leave()
    await run_ready_tasks()
    assert list_active(requests) == [0, 2]
    for request in requests:
        await request.leave()
    assert (gate.state.active, gate.state.queued, gate.is_free, gate.is_idle) == (0, 0, True, True)


async def test_a_request_to_a_full_queue_is_refused_at_once(tasks: TaskGroup) -> None:
    gate = Gate(concurrency=1, queue_length=2)
    await start_requests(tasks, gate, 3)
    with pytest.raises(SidecarError) as caught, anyio.fail_after(0.05):
        async with gate.hold_slot("interactive"):
            pass
    assert (caught.value.body.code, caught.value.body.retryable) == ("queue_full", True)
    assert (caught.value.body.retry_after_ms or 0) > 0
    assert gate.state.queued == 2


async def test_every_tenth_admission_goes_to_the_background_lane() -> None:
    gate = Gate(concurrency=1)
    order: list[Priority] = []

    async def visit(priority: Priority) -> None:
        async with gate.hold_slot(priority):
            order.append(priority)

    async with gate.hold_slot("interactive"), anyio.create_task_group() as visits:
        for _ in range(20):
            visits.start_soon(visit, "background")
        for _ in range(100):
            visits.start_soon(visit, "interactive")
        await run_ready_tasks()
        assert gate.state.queued == 120
        # The last request leaves from here on.
        gate._concurrency = 2  # noqa: SLF001 - one more slot lets the queue run
        gate._admit()  # noqa: SLF001
    assert len(order) == 120
    assert order.count("background") == 20
    first = order[:100]
    assert first.count("background") == 10
    assert max(len(run) for run in "".join(name[0] for name in first).split("b")) <= 9


@pytest.mark.parametrize("count", [1, 50])
async def test_a_request_cancelled_while_it_waits_leaves_nothing_behind(tasks: TaskGroup, count: int) -> None:
    gate = Gate(concurrency=1)
    [holder] = await start_requests(tasks, gate, 1)
    async with anyio.create_task_group() as waiting:
        await start_requests(waiting, gate, count)
        assert gate.state.queued == count
        waiting.cancel_scope.cancel()
    assert (gate.state.active, gate.state.queued) == (1, 0)
    await holder.leave()
    assert (gate.state.active, gate.is_free) == (0, True)


async def test_a_request_cancelled_just_as_it_is_admitted_passes_its_slot_on(tasks: TaskGroup) -> None:
    gate = Gate(concurrency=1)
    [holder] = await start_requests(tasks, gate, 1)
    async with anyio.create_task_group() as waiting:
        await start_requests(waiting, gate, 1)
        [heir] = await start_requests(tasks, gate, 1)
        holder.done.set()
        while gate.state.queued == 2:
            await anyio.lowlevel.checkpoint()
        waiting.cancel_scope.cancel()
    await heir.admitted.wait()
    await heir.leave()
    assert (gate.state.active, gate.state.queued) == (0, 0)


def make_rate_limit(seconds: float) -> SidecarError:
    return SidecarError("rate_limited", "x", retry_after_ms=int(seconds * 1000), provider_status=429)


async def test_after_a_rate_limit_one_request_tries_and_then_twice_as_many_each_time(tasks: TaskGroup) -> None:
    gate = Gate()
    [first] = await start_requests(tasks, gate, 1)
    await first.leave(make_rate_limit(BLOCKED_SECONDS))
    requests = await start_requests(tasks, gate, 20)
    assert list_active(requests) == []
    state = gate.state
    assert (state.state, state.queued, gate.is_idle) == ("limited", 20, False)
    assert 0 < (state.retry_after_ms or 0) <= BLOCKED_SECONDS * 1000 + 1
    await requests[0].admitted.wait()
    await run_ready_tasks()
    for admitted in ([0], [1, 2], [3, 4, 5, 6], list(range(7, 15))):
        assert list_active(requests) == admitted
        for number in admitted:
            await requests[number].leave()
        await run_ready_tasks()
    assert list_active(requests) == [15, 16, 17, 18, 19]
    for number in range(15, 20):
        await requests[number].leave()
    assert gate.state.active == 0


async def test_a_request_that_waits_for_a_slot_is_admitted_when_the_limit_ends(tasks: TaskGroup) -> None:
    gate = Gate(concurrency=1)
    [first] = await start_requests(tasks, gate, 1)
    [second] = await start_requests(tasks, gate, 1)
    await first.leave(make_rate_limit(BLOCKED_SECONDS))
    assert not second.admitted.is_set()
    with anyio.fail_after(1):
        await second.admitted.wait()


async def test_a_failed_probe_blocks_the_gate_again_and_a_cancelled_one_does_not(tasks: TaskGroup) -> None:
    gate = Gate()
    [first] = await start_requests(tasks, gate, 1)
    await first.leave(make_rate_limit(BLOCKED_SECONDS))
    async with anyio.create_task_group() as cancelled:
        [probe] = await start_requests(cancelled, gate, 1)
        await probe.admitted.wait()
        requests = await start_requests(tasks, gate, 3)
        cancelled.cancel_scope.cancel()
    await run_ready_tasks()
    assert list_active(requests) == [0]
    await requests[0].leave(make_rate_limit(BLOCKED_SECONDS))
    await run_ready_tasks()
    assert list_active(requests) == []
    await requests[1].admitted.wait()
    # A refusal of another kind shows that this credential may ask again.
    await requests[1].leave(SidecarError("invalid_request", "x", provider_status=400))
    await run_ready_tasks()
    assert list_active(requests) == [2]
    assert (await start_requests(tasks, gate, 1))[0].admitted.is_set()


@pytest.mark.parametrize("asked_ms", [None, 86_400_000])
async def test_a_rate_limit_without_a_time_or_of_a_day_does_not_block_the_gate(
    tasks: TaskGroup, asked_ms: int | None
) -> None:
    gate = Gate()
    [first] = await start_requests(tasks, gate, 1)
    await first.leave(SidecarError("rate_limited", "x", retry_after_ms=asked_ms, provider_status=429))
    assert gate.is_free
    assert gate.state.state == "closed"


async def test_a_probe_that_is_accepted_lets_others_in_before_it_is_answered(tasks: TaskGroup) -> None:
    gate = Gate()
    [first] = await start_requests(tasks, gate, 1)
    await first.leave(make_rate_limit(BLOCKED_SECONDS))
    async with gate.hold_slot("interactive") as turn:
        requests = await start_requests(tasks, gate, 3)
        assert list_active(requests) == []
        turn.report_accepted()
        turn.report_accepted()
        await run_ready_tasks()
        assert list_active(requests) == [0, 1]
        turn.report_success()
        await run_ready_tasks()
        assert list_active(requests) == [0, 1]


async def test_a_refused_credential_ranks_last_until_its_cooldown_ends(clock: Clock) -> None:
    good, refused = Gate(), Gate()
    for code in ("rate_limited", "quota_exceeded", "auth_failed"):
        async with expect_failure(refused, code):
            pass
        for _ in range(2):
            async with good.hold_slot("interactive"):
                assert good.rank("m") < refused.rank("m")
        clock.now += COOLDOWN_SECONDS
        assert refused.rank("m") < good.rank("m")


@asynccontextmanager
async def expect_failure(gate: Gate, code: str) -> AsyncIterator[None]:
    with pytest.raises(SidecarError):
        async with gate.hold_slot("interactive"):
            fail(code)
    yield


def fail(code: str) -> NoReturn:
    raise SidecarError(code, "x")  # type: ignore[arg-type]  # of a table


async def simulate_outage(gate: Gate, times: int = MAX_FAILURES) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(times):
            await stack.enter_async_context(expect_failure(gate, "network_error"))


async def test_the_breaker_opens_after_failures_in_a_row(clock: Clock) -> None:
    gate = Gate()
    await simulate_outage(gate, MAX_FAILURES - 1)
    async with gate.hold_slot("interactive") as turn:
        turn.report_success()
    await simulate_outage(gate, MAX_FAILURES - 1)
    assert (gate.should_avoid(), gate.state.state) == (False, "closed")
    await simulate_outage(gate, 1)
    assert (gate.should_avoid(), gate.state.state) == (True, "open")
    clock.now += OPEN_SECONDS
    assert gate.state.state == "half_open"
    assert [gate.should_avoid() for _ in range(3)] == [False, True, True]
    async with gate.hold_slot("interactive") as turn:
        turn.report_success()
    assert (gate.should_avoid(), gate.state.state) == (False, "closed")


async def test_refusals_do_not_open_the_breaker(clock: Clock) -> None:  # noqa: ARG001 - stands still
    gate = Gate()
    for _ in range(MAX_FAILURES):
        for code in ("auth_failed", "invalid_request", "quota_exceeded", "content_filtered"):
            async with expect_failure(gate, code):
                pass
    assert not gate.should_avoid()


async def test_a_request_that_fails_at_the_gate_itself_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(concurrency=1)
    with monkeypatch.context() as patched:
        patched.setattr(Gate, "_pick_next", _fail)
        with pytest.raises(ZeroDivisionError):
            async with gate.hold_slot("interactive"):
                raise AssertionError("it was admitted")
    assert (gate.state.active, gate.state.queued) == (0, 0)
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        async with gate.hold_slot("interactive"):
            patched.setattr(Gate, "_mark_counted", _fail)
    with anyio.fail_after(1):
        async with gate.hold_slot("interactive"):
            assert gate.state.active == 1


def _fail(*_: object) -> NoReturn:
    raise ZeroDivisionError
