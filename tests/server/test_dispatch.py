"""Lines to actions: one terminal line for each, whatever the line or its handler does."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest

from sidecar.core.errors import SidecarError
from sidecar.server import dispatch
from sidecar.server.actions import ACTIONS, TaskAction
from sidecar.server.app import App
from sidecar.server.framing import TooLong
from sidecar.server.open_requests import OpenRequest
from sidecar.server.write_queue import MAX_QUEUED_BYTES
from tests.support import app
from tests.support.app import Host
from tests.support.lines import Object

USAGE = {"model": "m", "usage": {"input_tokens": 1, "output_tokens": 1}}


def replace_handler(
    monkeypatch: pytest.MonkeyPatch, handle: Callable[[App, OpenRequest, Any], Awaitable[object]]
) -> None:
    """Have `calculate_cost` do something else."""
    monkeypatch.setitem(ACTIONS, "calculate_cost", TaskAction(lambda: handle))


async def wait_forever(_: App, request: OpenRequest, __: Any) -> None:
    request.state.progress.phase = "headers"
    await anyio.sleep_forever()


def only(lines: list[Object]) -> Object:
    assert len(lines) == 1
    return lines[0]


async def test_an_immediate_action_is_answered_before_the_next_line() -> None:
    async with app.running() as host:
        host.send("shutdown")
        host.send("ping")
        replies = [only(await host.read_reply(number)) for number in (1, 2)]
        assert replies[0]["data"] == {"shutting_down": True}
        assert replies[1]["data"] == {"pong": True, "in_flight": 0}


@pytest.mark.parametrize(
    ("line", "code", "param"),
    [
        (b"{", "parse_error", None),
        (b'{"id":1,"action":"sing"}', "invalid_request", "action"),
        (b'{"id":1,"action":"cancel"}', "invalid_request", "params.id"),
        (b'{"id":1,"action":"authenticate","params":{"op":"status"}}', "invalid_request", "provider"),
        (b'{"id":[],"action":"ping"}', "invalid_request", "id"),
        (b'{"id":1,"action":"ping","params":{"a":01}}', "parse_error", None),
    ],
)
async def test_a_line_that_is_wrong_gets_one_error(line: bytes, code: str, param: str | None) -> None:
    async with app.running() as host:
        host.write(line)
        reply = only(await host.read_reply(None if code == "parse_error" or param == "id" else 1))
        assert (reply["error"]["code"], reply["error"].get("param")) == (code, param)


async def test_a_line_that_is_too_long_is_refused_under_its_id() -> None:
    async with app.running() as host:
        dispatch.accept(host.app, TooLong(b'{"id":7,"action":"stream_chat","params":{"x'))
        dispatch.accept(host.app, TooLong(b'{"id":8,"action"', no_memory=True))
        assert only(await host.read_reply(7))["error"]["reason"] == "line_too_long"
        assert only(await host.read_reply(8))["error"]["code"] == "internal_error"


async def test_an_id_is_taken_until_its_terminal_line(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_handler(monkeypatch, wait_forever)
    async with app.running() as host:
        host.send("calculate_cost", USAGE, id="a")
        assert (await host.ask("ping", id="a"))["error"]["reason"] == "duplicate_id"
        assert (await host.ask("cancel", {"id": "a"}))["data"] == {"found": True}
        await host.app.requests.wait_until_idle()
        assert (await host.ask("cancel", {"id": "a"}))["data"] == {"found": False}
        host.send("ping", id="a")
        _, cancelled, answered = await host.read_reply("a", terminal_lines=3)
        assert cancelled["error"]["code"] == "cancelled"
        assert answered["success"]


async def test_a_cancelled_request_ends_as_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_handler(monkeypatch, wait_forever)
    async with app.running() as host:
        waiting = host.send("calculate_cost", USAGE)
        await anyio.lowlevel.checkpoint()
        await host.ask("cancel", {"id": waiting})
        assert only(await host.read_reply(waiting))["error"]["code"] == "cancelled"


async def test_a_request_ends_at_its_timeout_and_says_what_it_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_handler(monkeypatch, wait_forever)
    async with app.running() as host:
        error = (await host.ask("calculate_cost", USAGE, timeout=10))["error"]
        assert (error["code"], error["phase"], error["reason"]) == ("timeout", "headers", "deadline")


async def test_a_request_that_the_shutdown_cancels_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_handler(monkeypatch, wait_forever)
    async with app.running() as host:
        waiting = host.send("calculate_cost", USAGE)
        host.app.leaving = True
        host.app.requests.cancel_all("shutting_down")
        assert only(await host.read_reply(waiting))["error"]["code"] == "shutting_down"
        assert (await host.ask("calculate_cost", USAGE))["error"]["code"] == "shutting_down"


async def test_a_defect_becomes_an_internal_error_that_repeats_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(*_: object) -> None:
        raise ValueError("CANARY")

    replace_handler(monkeypatch, fail)
    async with app.running() as host:
        error = (await host.ask("calculate_cost", USAGE))["error"]
        assert error["code"] == "internal_error"
        assert "ValueError" in error["hint"]
        assert "CANARY" not in str(error) + capsys.readouterr().err
        assert (await host.ask("ping"))["success"]


async def test_the_one_failure_in_a_group_is_the_one_that_the_host_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise ExceptionGroup("tasks", [ExceptionGroup("tasks", [SidecarError("network_error", "It broke.")])])

    replace_handler(monkeypatch, fail)
    async with app.running() as host:
        assert (await host.ask("calculate_cost", USAGE))["error"]["code"] == "network_error"


async def test_so_many_requests_may_be_open_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "MAX_OPEN", 3)
    replace_handler(monkeypatch, wait_forever)
    async with app.running() as host:
        for _ in range(3):
            host.send("calculate_cost", USAGE)
        assert (await host.ask("calculate_cost", USAGE))["error"]["code"] == "queue_full"
        assert (await host.ask("ping"))["data"]["in_flight"] == 3


async def test_a_strict_host_is_told_of_a_field_that_does_not_exist() -> None:
    async with app.running() as host:
        assert (await host.ask("initialize", {"strict": True}))["success"]
        assert await _param(host, {**USAGE, "modle": "m"}) == "params.modle"
        assert await _param(host, USAGE | {"usage": {"inputs": 1}}) == "params.usage.inputs"


async def _param(host: Host, params: Object) -> str:
    error = (await host.ask("calculate_cost", params, provider="openai"))["error"]
    assert error["code"] == "invalid_request"
    return str(error["param"])


async def test_a_request_that_was_found_and_cancelled_never_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    async def finish_all_the_same(_: App, request: OpenRequest, __: Any) -> object:
        with suppress(anyio.get_cancelled_exc_class()):
            await anyio.sleep_forever()
        return {"late": request.lane.id}

    replace_handler(monkeypatch, finish_all_the_same)
    async with app.running() as host:
        host.send("calculate_cost", USAGE, id="a")
        assert (await host.ask("cancel", {"id": "a"}))["data"] == {"found": True}
        assert only(await host.read_reply("a"))["error"]["code"] == "cancelled"
        assert (await host.ask("cancel", {"id": "a"}))["data"] == {"found": False}


@pytest.mark.long
async def test_a_host_that_reads_nothing_is_refused_before_its_replies_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def answer_at_length(_: App, __: OpenRequest, ___: Any) -> object:
        return {"text": "x" * 1_000_000}

    replace_handler(monkeypatch, answer_at_length)
    async with app.running(reads=False) as host:
        queue = host.app.write_queue
        for _ in range(200):
            host.send("calculate_cost", USAGE)
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
        assert queue.is_overfull
        assert queue.queued_bytes < MAX_QUEUED_BYTES + 3_000_000
        assert host.app.requests.cancel("none") is False
        host.send("ping")
        assert not queue.reader_gone.is_set()


async def test_what_waits_to_be_written_is_counted_down_to_nothing() -> None:
    async with app.running() as host:
        ask: Object = {"model": "default", "messages": [{"role": "user", "content": "Hi"}]}
        await host.ask("stream_chat", ask, provider="replay")
        cancelled = host.send("stream_chat", ask, provider="replay")
        await host.ask("cancel", {"id": cancelled})
        await host.read_reply(cancelled)
        assert host.app.write_queue.queued_bytes == 0
