"""Single flight: shared work runs once, and outlives the requests that wait for it."""

from itertools import pairwise

import anyio
import anyio.lowlevel
import pytest

from sidecar.core.errors import SidecarError
from sidecar.core.single_flight import WOKEN_TOGETHER, SharedTask, SingleFlight
from tests.support.fake_provider import WAIT_SECONDS


class Work:
    """Work that counts its runs and ends when it is released."""

    def __init__(self) -> None:
        self.runs = 0
        self.ended = 0
        self.begun = anyio.Event()
        self.release = anyio.Event()

    async def __call__(self) -> int:
        self.runs += 1
        self.begun.set()
        await self.release.wait()
        self.ended += 1
        return self.runs


async def test_requests_with_one_key_share_one_run_and_the_next_starts_another() -> None:
    work, results = Work(), list[int]()
    with anyio.fail_after(WAIT_SECONDS):
        async with anyio.create_task_group() as tasks:
            single_flight = SingleFlight(tasks)

            async def ask() -> None:
                results.append(await single_flight.run_once("key", work))

            async with anyio.create_task_group() as requests:
                for _ in range(10):
                    requests.start_soon(ask)
                await work.begun.wait()
                work.release.set()
            assert results == [1] * 10
            assert await single_flight.run_once("key", work) == 2


async def test_a_cancelled_request_leaves_the_work_to_the_others() -> None:
    work, results = Work(), list[int]()
    with anyio.fail_after(WAIT_SECONDS):
        async with anyio.create_task_group() as tasks:
            single_flight = SingleFlight(tasks)

            async def ask() -> None:
                results.append(await single_flight.run_once("key", work))

            async with anyio.create_task_group() as first:
                first.start_soon(ask)
                await work.begun.wait()
                tasks.start_soon(ask)
                first.cancel_scope.cancel()
            work.release.set()
    assert (work.runs, results) == (1, [1])


async def test_shielded_work_ends_although_its_request_is_cancelled() -> None:
    work = Work()
    with anyio.fail_after(WAIT_SECONDS):
        async with anyio.create_task_group() as tasks:
            single_flight = SingleFlight(tasks)
            async with anyio.create_task_group() as request:
                request.start_soon(single_flight.run_shielded, work)
                await work.begun.wait()
                request.cancel_scope.cancel()
            assert work.ended == 0
            work.release.set()
    assert work.ended == 1


async def test_work_that_nobody_waits_for_is_cancelled_where_it_is_asked_to_be() -> None:
    work = Work()

    async def run(_: SharedTask[int]) -> int:
        return await work()

    with anyio.fail_after(WAIT_SECONDS):
        async with anyio.create_task_group() as tasks:
            single_flight = SingleFlight(tasks)
            with single_flight.join("key", run, keep_running=False):
                await work.begun.wait()
    assert (work.runs, work.ended) == (1, 0)


async def test_each_request_gets_a_failure_of_its_own_and_the_process_goes_on() -> None:
    errors: list[SidecarError] = []

    async def fail() -> int:
        raise SidecarError("network_error", "It broke.")

    with anyio.fail_after(WAIT_SECONDS):
        async with anyio.create_task_group() as tasks:
            single_flight = SingleFlight(tasks)

            async def ask() -> None:
                with pytest.raises(SidecarError, match="It broke") as caught:
                    await single_flight.run_once("key", fail)
                errors.append(caught.value)

            async with anyio.create_task_group() as requests:
                requests.start_soon(ask)
                requests.start_soon(ask)
    assert len(errors) == 2
    assert errors[0] is not errors[1]


async def test_updates_reach_everyone_who_waits_and_those_who_join_later() -> None:
    first_seen = anyio.Event()

    async def run(task: SharedTask[str]) -> str:
        task.report("one")
        await first_seen.wait()
        task.report("two")
        return "end"

    with anyio.fail_after(WAIT_SECONDS):
        async with anyio.create_task_group() as tasks:
            single_flight = SingleFlight(tasks)
            with single_flight.join("key", run) as task:
                await task.wait_for_update()
                assert task.updates == ["one"]
                with single_flight.join("key", run) as late:
                    assert late is task
                    first_seen.set()
                    assert await late.wait() == "end"
                assert task.updates == ["one", "two"]


async def test_many_who_wait_go_on_in_several_turns_and_an_error_gathers_no_steps() -> None:
    release, order = anyio.Event(), list[int]()
    failure, depths = ValueError("of ours"), set[int]()

    async def work() -> int:
        await release.wait()
        raise failure

    def count_steps(error: BaseException) -> int:
        steps, step = 0, error.__traceback__
        while step is not None:
            steps, step = steps + 1, step.tb_next
        return steps

    with anyio.fail_after(WAIT_SECONDS):
        async with anyio.create_task_group() as tasks:
            single_flight = SingleFlight(tasks)

            async def ask(number: int) -> None:
                try:
                    await single_flight.run_once("key", work)
                except ValueError as error:
                    order.append(number)
                    depths.add(count_steps(error))

            for number in range(10 * WOKEN_TOGETHER):
                tasks.start_soon(ask, number)
            await anyio.wait_all_tasks_blocked()
            release.set()
            seen = list[int]()
            while len(order) < 10 * WOKEN_TOGETHER:
                await anyio.lowlevel.checkpoint()
                seen.append(len(order))
    assert order == [*range(10 * WOKEN_TOGETHER)]
    assert max(after - before for before, after in pairwise([0, *seen])) <= 2 * WOKEN_TOGETHER
    assert len(depths) == 1
