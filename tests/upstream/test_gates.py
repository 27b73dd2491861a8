"""The gate of one provider and credential: slots, lanes, rate limits, the breaker, and that nothing leaks."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NoReturn

import anyio
import pytest
from anyio.abc import TaskGroup

from sidecar.core.errors import SidecarError
from sidecar.upstream.gates.gate import BREAKER_FAILURES, BREAKER_SECONDS, REST_SECONDS, Gate, Priority
from tests.support.gates import Clock, guests, inside, settled

SOON = 0.03
"""Seconds for which a gate is shut."""


async def test_no_more_than_the_slots_and_then_in_order(tasks: TaskGroup) -> None:
    gate = Gate(concurrency=2)
    everybody = await guests(tasks, gate, 4)
    assert inside(everybody) == [0, 1]
    assert (gate.state.active, gate.state.queued, gate.free) == (2, 2, False)
    await everybody[1].leave()
    await settled()
    assert inside(everybody) == [0, 2]
    for guest in everybody:
        await guest.leave()
    assert (gate.state.active, gate.state.queued, gate.free, gate.idle) == (0, 0, True, True)


async def test_one_too_many_is_refused_at_once(tasks: TaskGroup) -> None:
    gate = Gate(concurrency=1, queue_length=2)
    await guests(tasks, gate, 3)
    with pytest.raises(SidecarError) as caught, anyio.fail_after(0.05):
        async with gate.slot("interactive"):
            pass
    assert (caught.value.body.code, caught.value.body.retryable) == ("queue_full", True)
    assert (caught.value.body.retry_after_ms or 0) > 0
    assert gate.state.queued == 2


async def test_the_background_lane_gets_a_tenth() -> None:
    gate = Gate(concurrency=1)
    order: list[Priority] = []

    async def visit(priority: Priority) -> None:
        async with gate.slot(priority):
            order.append(priority)

    async with gate.slot("interactive"), anyio.create_task_group() as visits:
        for _ in range(20):
            visits.start_soon(visit, "background")
        for _ in range(100):
            visits.start_soon(visit, "interactive")
        await settled()
        assert gate.state.queued == 120
        # The last guest leaves from here on.
        gate._concurrency = 2  # noqa: SLF001 - one more slot lets the queue run
        gate._admit()  # noqa: SLF001
    assert len(order) == 120
    assert order.count("background") == 20
    first = order[:100]
    assert first.count("background") == 10
    assert max(len(run) for run in "".join(name[0] for name in first).split("b")) <= 9


@pytest.mark.parametrize("count", [1, 50])
async def test_who_is_cancelled_while_waiting_leaves_nothing_behind(tasks: TaskGroup, count: int) -> None:
    gate = Gate(concurrency=1)
    [holder] = await guests(tasks, gate, 1)
    async with anyio.create_task_group() as waiting:
        await guests(waiting, gate, count)
        assert gate.state.queued == count
        waiting.cancel_scope.cancel()
    assert (gate.state.active, gate.state.queued) == (1, 0)
    await holder.leave()
    assert (gate.state.active, gate.free) == (0, True)


async def test_who_is_cancelled_just_as_it_is_let_in_gives_the_slot_on(tasks: TaskGroup) -> None:
    gate = Gate(concurrency=1)
    [holder] = await guests(tasks, gate, 1)
    async with anyio.create_task_group() as waiting:
        await guests(waiting, gate, 1)
        [heir] = await guests(tasks, gate, 1)
        holder.go.set()
        while gate.state.queued == 2:
            await anyio.lowlevel.checkpoint()
        waiting.cancel_scope.cancel()
    await heir.inside.wait()
    await heir.leave()
    assert (gate.state.active, gate.state.queued) == (0, 0)


def limited(seconds: float) -> SidecarError:
    return SidecarError("rate_limited", "x", retry_after_ms=int(seconds * 1000), provider_status=429)


async def test_after_a_rate_limit_one_tries_and_then_twice_as_many(tasks: TaskGroup) -> None:
    gate = Gate()
    [first] = await guests(tasks, gate, 1)
    await first.leave(limited(SOON))
    everybody = await guests(tasks, gate, 20)
    assert inside(everybody) == []
    state = gate.state
    assert (state.state, state.queued, gate.idle) == ("limited", 20, False)
    assert 0 < (state.retry_after_ms or 0) <= SOON * 1000 + 1
    await everybody[0].inside.wait()
    await settled()
    for known in ([0], [1, 2], [3, 4, 5, 6], list(range(7, 15))):
        assert inside(everybody) == known
        for number in known:
            await everybody[number].leave()
        await settled()
    assert inside(everybody) == [15, 16, 17, 18, 19]
    for number in range(15, 20):
        await everybody[number].leave()
    assert gate.state.active == 0


async def test_who_waits_for_a_slot_is_let_in_when_the_limit_is_over(tasks: TaskGroup) -> None:
    gate = Gate(concurrency=1)
    [first] = await guests(tasks, gate, 1)
    [second] = await guests(tasks, gate, 1)
    await first.leave(limited(SOON))
    assert not second.inside.is_set()
    with anyio.fail_after(1):
        await second.inside.wait()


async def test_a_probe_that_fails_shuts_the_gate_again_and_one_that_is_cancelled_does_not(tasks: TaskGroup) -> None:
    gate = Gate()
    [first] = await guests(tasks, gate, 1)
    await first.leave(limited(SOON))
    async with anyio.create_task_group() as cancelled:
        [probe] = await guests(cancelled, gate, 1)
        await probe.inside.wait()
        everybody = await guests(tasks, gate, 3)
        cancelled.cancel_scope.cancel()
    await settled()
    assert inside(everybody) == [0]
    await everybody[0].leave(limited(SOON))
    await settled()
    assert inside(everybody) == []
    await everybody[1].inside.wait()
    # A refusal of another kind shows that this credential may ask again.
    await everybody[1].leave(SidecarError("invalid_request", "x", provider_status=400))
    await settled()
    assert inside(everybody) == [2]
    assert (await guests(tasks, gate, 1))[0].inside.is_set()


@pytest.mark.parametrize("asked_ms", [None, 86_400_000])
async def test_a_limit_of_no_time_or_of_a_day_does_not_shut_the_gate(tasks: TaskGroup, asked_ms: int | None) -> None:
    gate = Gate()
    [first] = await guests(tasks, gate, 1)
    await first.leave(SidecarError("rate_limited", "x", retry_after_ms=asked_ms, provider_status=429))
    assert gate.free
    assert gate.state.state == "closed"


async def test_who_is_let_in_after_a_rate_limit_holds_up_nobody_by_thinking(tasks: TaskGroup) -> None:
    gate = Gate()
    [first] = await guests(tasks, gate, 1)
    await first.leave(limited(SOON))
    async with gate.slot("interactive") as turn:
        everybody = await guests(tasks, gate, 3)
        assert inside(everybody) == []
        turn.accepted()
        turn.accepted()
        await settled()
        assert inside(everybody) == [0, 1]
        turn.succeeded()
        await settled()
        assert inside(everybody) == [0, 1]


async def test_what_is_refused_is_chosen_last(clock: Clock) -> None:
    good, refused = Gate(), Gate()
    for code in ("rate_limited", "quota_exceeded", "auth_failed"):
        async with failing(refused, code):
            pass
        for _ in range(2):
            async with good.slot("interactive"):
                assert good.rank("m") < refused.rank("m")
        clock.now += REST_SECONDS
        assert refused.rank("m") < good.rank("m")


@asynccontextmanager
async def failing(gate: Gate, code: str) -> AsyncIterator[None]:
    with pytest.raises(SidecarError):
        async with gate.slot("interactive"):
            fail(code)
    yield


def fail(code: str) -> NoReturn:
    raise SidecarError(code, "x")  # type: ignore[arg-type]  # of a table


async def outage(gate: Gate, times: int = BREAKER_FAILURES) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(times):
            await stack.enter_async_context(failing(gate, "network_error"))


async def test_the_breaker_opens_after_failures_in_a_row(clock: Clock) -> None:
    gate = Gate()
    await outage(gate, BREAKER_FAILURES - 1)
    async with gate.slot("interactive") as turn:
        turn.succeeded()
    await outage(gate, BREAKER_FAILURES - 1)
    assert (gate.avoided(), gate.state.state) == (False, "closed")
    await outage(gate, 1)
    assert (gate.avoided(), gate.state.state) == (True, "open")
    clock.now += BREAKER_SECONDS
    assert gate.state.state == "half_open"
    assert [gate.avoided() for _ in range(3)] == [False, True, True]
    async with gate.slot("interactive") as turn:
        turn.succeeded()
    assert (gate.avoided(), gate.state.state) == (False, "closed")


async def test_what_is_refused_is_no_outage(clock: Clock) -> None:  # noqa: ARG001 - stands still
    gate = Gate()
    for _ in range(BREAKER_FAILURES):
        for code in ("auth_failed", "invalid_request", "quota_exceeded", "content_filtered"):
            async with failing(gate, code):
                pass
    assert not gate.avoided()
