"""Who waits at a gate for the requests and tokens of a minute, and who goes on."""

from collections.abc import Mapping

import anyio
import pytest
from anyio.abc import TaskGroup

from sidecar.catalogue.limit_kinds import LimitKind
from sidecar.upstream.gates.gate import Gate, Priority
from tests.support.gates import Clock, guests, inside, settled

NAMES: Mapping[LimitKind, str] = {"requests": "x-{}-requests", "tokens": "x-{}-tokens"}


async def test_headers_that_leave_nothing_shut_the_gate(tasks: TaskGroup) -> None:
    gate = Gate()
    async with gate.slot("interactive", model="m") as turn:
        turn.learn({"x-remaining-tokens": "0", "x-reset-tokens": "300ms"}, NAMES)
        # Of another model they say nothing.
        [other] = await guests(tasks, gate, 1, model="other")
        assert other.inside.is_set()
        [guest] = await guests(tasks, gate, 1)
        assert not guest.inside.is_set()
        [third] = await guests(tasks, gate, 1, model="other")
        assert third.inside.is_set()
    with anyio.fail_after(1):
        await guest.inside.wait()


async def test_no_more_go_in_than_the_headers_leave(tasks: TaskGroup) -> None:
    gate = Gate()
    said = {"x-limit-requests": "100", "x-remaining-requests": "3", "x-reset-requests": "9.7"}
    async with gate.slot("interactive", model="m") as turn:
        turn.learn(said, NAMES)
    everybody = await guests(tasks, gate, 10)
    assert inside(everybody) == [0, 1, 2]
    assert gate.state.queued == 7
    # Ten more a second.
    with anyio.fail_after(1):
        await everybody[3].inside.wait()
    assert not everybody[9].inside.is_set()


async def test_so_many_requests_a_minute_as_the_user_sets(tasks: TaskGroup, clock: Clock) -> None:
    gate = Gate(requests_per_minute=2)
    everybody = await guests(tasks, gate, 4)
    assert inside(everybody) == [0, 1]
    assert gate.state.retry_after_ms == 30_001
    for guest in everybody[:2]:
        await guest.leave()
    assert inside(everybody) == []
    clock.now += 30
    gate._look()  # noqa: SLF001 - the timer is of another clock
    await settled()
    assert inside(everybody) == [2]


async def test_so_many_tokens_a_minute_as_the_user_sets(tasks: TaskGroup, clock: Clock) -> None:
    gate = Gate(tokens_per_minute=1000)
    assert gate.counts_tokens
    async with gate.slot("interactive", tokens=600) as turn:
        turn.used(2500)
    [guest] = await guests(tasks, gate, 1)
    # 1500 too many, and one token at least, at 1000 a minute.
    assert (inside([guest]), gate.state.retry_after_ms) == ([], 90_060)
    clock.now += 89
    gate._look()  # noqa: SLF001 - the timer is of another clock
    assert not guest.inside.is_set()
    clock.now += 2
    gate._look()  # noqa: SLF001 - the timer is of another clock
    await guest.inside.wait()


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("priority", ["interactive", "background"])
async def test_who_needs_much_is_not_starved_by_those_who_need_little(
    tasks: TaskGroup, clock: Clock, priority: Priority, learned: bool
) -> None:
    gate = Gate() if learned else Gate(tokens_per_minute=6000)
    async with gate.slot("interactive", model="m", tokens=0) as turn:
        if learned:
            left = {"x-limit-tokens": "6000", "x-remaining-tokens": "0", "x-reset-tokens": "60"}
            turn.learn(left, {"tokens": "x-{}-tokens"})
        else:
            turn.used(6000)
    [large] = await guests(tasks, gate, 1, tokens=600)
    small = await guests(tasks, gate, 20, priority, tokens=100)
    for _ in range(6):
        assert inside([large, *small]) == []
        # A hundred tokens more: enough for a small one.
        clock.now += 1
        gate._look()  # noqa: SLF001 - the timer is of another clock
        await settled()
    assert inside([large, *small]) == [0]


async def test_what_all_models_share_is_not_taken_from_who_waits_for_it(tasks: TaskGroup, clock: Clock) -> None:
    gate = Gate(tokens_per_minute=6000)
    async with gate.slot("interactive", model="m") as turn:
        turn.used(6000)
        turn.learn({"x-remaining-requests": "9", "x-reset-requests": "9"}, NAMES)
    [large] = await guests(tasks, gate, 1, tokens=600)
    [small] = await guests(tasks, gate, 1, model="other", tokens=100)
    clock.now += 3
    gate._look()  # noqa: SLF001 - the timer is of another clock
    await settled()
    assert inside([large, small]) == []
    clock.now += 3
    gate._look()  # noqa: SLF001 - the timer is of another clock
    await settled()
    assert inside([large, small]) == [0]


async def test_nobody_waits_behind_one_that_was_cancelled(tasks: TaskGroup) -> None:
    gate = Gate(tokens_per_minute=6_000_000)
    async with gate.slot("interactive") as turn:
        turn.used(6_000_000)
    async with anyio.create_task_group() as cancelled:
        # It would take six seconds, the other one a hundredth of one.
        await guests(cancelled, gate, 1, tokens=1_000_000)
        [small] = await guests(tasks, gate, 1, tokens=1000)
        cancelled.cancel_scope.cancel()
    with anyio.fail_after(2):
        await small.inside.wait()


async def test_what_another_model_has_under_way_is_not_held_against_one(tasks: TaskGroup, clock: Clock) -> None:
    gate = Gate()
    silent = await guests(tasks, gate, 30, model="thinks")
    said = {"x-limit-requests": "60", "x-remaining-requests": "20", "x-reset-requests": "40"}
    async with gate.slot("interactive", model="m") as turn:
        turn.learn(said, NAMES)
    assert gate.pause_ms("m", 0) is None
    # Those of its own are.
    async with gate.slot("interactive", model="thinks") as turn:
        turn.learn(said, NAMES)
    assert gate.pause_ms("thinks", 0) == 11_001
    for guest in silent:
        await guest.leave()
    assert gate._unheard == {}  # noqa: SLF001 - what would stay for good
    clock.now += 11
    assert gate.pause_ms("thinks", 0) is None


async def test_of_several_that_one_is_chosen_whose_limits_leave_something_for_the_model() -> None:
    spent, fresh = Gate(), Gate()
    async with spent.slot("interactive", model="m") as turn:
        turn.learn({"x-remaining-requests": "0", "x-reset-requests": "30"}, NAMES)
    for _ in range(3):
        async with fresh.slot("interactive", model="m"):
            pass
    assert fresh.rank("m") < spent.rank("m")
    assert spent.rank("other") < fresh.rank("other")
