"""The internet as an `App` in the test's own process sees it: an HTTP client whose servers answer by rule."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio

from sidecar.config.values import Config
from sidecar.core.http import HttpRequest, HttpTimeouts, Response, RetryBudget, Trace
from tests.support import canaries
from tests.support.answer_rules import AnswerRules
from tests.support.app import Host, ScriptedTransport
from tests.support.fake_provider import WAIT_SECONDS
from tests.support.fake_services import Seen
from tests.support.lines import Id, Object
from tests.support.provider_rows import params


class FakeTransport(AnswerRules):
    """Stands for the HTTP client. Timeouts do not pass here: a server that stalls does so until it is left."""

    @asynccontextmanager
    async def send(
        self,
        request: HttpRequest,
        auth: Mapping[str, str],
        timeouts: HttpTimeouts,  # noqa: ARG002 - the signature of a transport
        trace: Trace | None = None,
        *,
        budget: RetryBudget | None = None,  # noqa: ARG002 - as above
        link_local: bool = False,  # noqa: ARG002 - as above
    ) -> AsyncIterator[Response]:
        """Give the answer that a rule has for *request*."""
        if trace is not None:
            trace.phase = "headers"
        headers = {name.lower(): value for name, value in {**request.headers, **auth}.items()}
        answer = await self.take(Seen(request.method, request.url, headers, request.body))

        async def body() -> AsyncIterator[bytes]:
            await anyio.lowlevel.checkpoint()
            if answer.body:
                yield answer.body
            if answer.stalls:
                await anyio.sleep_forever()

        yield Response(answer.status, {name.lower(): value for name, value in answer.headers.items()}, body())

    async def aclose(self) -> None:
        """Close nothing."""


@asynccontextmanager
async def online(services: FakeTransport, **config: Any) -> AsyncIterator[Host]:
    """Run an app that takes *services* for the internet; afterwards no line of its shows a canary.

    *config* are values of `Config`; `env` is the whole environment.
    """
    with anyio.fail_after(2 * WAIT_SECONDS):
        async with anyio.create_task_group() as tasks:
            host = Host(Config(path="", **config), tasks, cast("ScriptedTransport", services), reads=True)
            yield host
            tasks.cancel_scope.cancel()
    assert not canaries.tokens(str(host.lines))


@asynccontextmanager
async def logged_off(services: FakeTransport, folder: Path, **config: Any) -> AsyncIterator[Host]:
    """Run an app with a store in *folder*, in which nothing is yet unless an earlier one has put it there."""
    async with online(services, store_dir=str(folder / "store"), **config) as host:
        yield host


def send_chats(host: Host, provider: str, count: int, **more: Any) -> list[Id]:
    """Send *count* chats at once and return their ids."""
    return [host.send("stream_chat", params(**more), provider=provider) for _ in range(count)]


async def read_codes(host: Host, ids: list[Id]) -> list[str | None]:
    """Return the error codes of requests, None for those that went well."""
    replies = [(await host.read_reply(each))[-1] for each in ids]
    return [None if reply["success"] else reply["error"]["code"] for reply in replies]


async def chat(host: Host, provider: str, **more: Any) -> Object:
    """Ask a chat once, without retries, and return its terminal line."""
    options = {"retry": {"max_attempts": 1}} | more.pop("options", {})
    return await host.ask("stream_chat", params(options=options, **more), provider=provider)
