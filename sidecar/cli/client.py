"""A host inside the process: requests go to the app as lines, and its reply lines come back.

It is the first client of the protocol. Must not know what a command does with a reply.
"""

import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import anyio
import msgspec

from sidecar import __version__
from sidecar.cli.terminal import TICK_SECONDS, Terminal
from sidecar.config.values import Config
from sidecar.core import event_loop
from sidecar.core.http import Transport
from sidecar.server import dispatch
from sidecar.server.app import App
from sidecar.server.write_queue import WriteQueue

CANCEL_SECONDS = 1.5
"""How long a cancelled request may take to say what it has used."""

FLUSH_SECONDS = 1.0
"""How long the last rows of the ledger may take."""

HEARTBEAT_MS = 1000

Run = Callable[[Coroutine[Any, Any, Any]], Any]
"""Runs a coroutine to its end and returns its result. Ctrl-C cancels the coroutine."""

Take = Callable[[dict[str, Any]], None]
"""Takes the data of a streamed line."""


class Question(NamedTuple):
    """One of several requests that are asked at once."""

    action: str
    params: Mapping[str, Any]
    provider: str | None
    timeout_ms: int


class FailedError(Exception):
    """A request ended with an error; `body` is its `error` object."""

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__(body.get("code"))
        self.body = body


class InterruptedRequestError(Exception):
    """Ctrl-C came while a request was open; `body` is the error that it ended with, empty if it has not ended."""

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__("interrupted")
        self.body = body


class Client:
    """Sends requests and reads replies. One request is open at a time."""

    def __init__(self, config: Config, run: Run, terminal: Terminal, http: Transport | None = None) -> None:
        """Ask with *http*; None: as the configuration says."""
        self._run = run
        self._terminal = terminal
        self._replies: deque[dict[str, Any]] = deque()
        self._arrived = event_loop.Event()
        self._failure: BaseException | None = None
        self._watch: Callable[[bytes], None] | None = None
        """Takes every reply line, in the place of whoever asks."""
        self._last_id = 0
        self.config = config
        self.warnings: list[str] = []
        """What the sidecar has warned of, beside any request."""
        self.app = App(
            config,
            WriteQueue(self._take_batch, event_loop.call_soon, time.monotonic),
            event_loop.Tasks(self._fail),
            http,
        )
        events = {"client": {"name": "sidecar-cli", "version": __version__}, "events": ["status", "warnings"]}
        self.ask("initialize", events | {"heartbeat_ms": HEARTBEAT_MS})

    def ask(
        self, action: str, params: Mapping[str, Any] | None = None, *, provider: str | None = None, waiting: str = ""
    ) -> dict[str, Any]:
        """Return the data of the terminal line of a request; *waiting* says on a terminal what takes so long.

        Raises: FailedError, InterruptedRequestError.
        """
        return self.stream(action, params, lambda _: None, provider=provider, waiting=waiting)

    def stream(
        self,
        action: str,
        params: Mapping[str, Any] | None,
        take: Take,
        *,
        provider: str | None = None,
        waiting: str = "",
    ) -> dict[str, Any]:
        """As `ask`, with the data of each streamed line but the last one for *take*."""
        self._last_id += 1
        request = {"id": self._last_id, "action": action, "provider": provider, "params": params or {}}
        try:
            data: dict[str, Any] = self._run(self._converse(msgspec.json.encode(request), take, waiting))
        except FailedError as error:
            # An error about a name that is not known does not repeat it.
            asked = {"provider": provider, "model": (params or {}).get("model")}
            raise FailedError({name: it for name, it in asked.items() if it} | error.body) from None
        finally:
            self._terminal.clear_progress()
        return data

    def ask_all(self, questions: Sequence[Question], *, waiting: str = "") -> list[dict[str, Any]]:
        """Return the last line of each of *questions*, which has `data` or `error`. They are asked at once."""
        first = self._last_id + 1
        self._last_id += len(questions)
        lines = [
            msgspec.json.encode({"id": number, "timeout": each.timeout_ms} | _make_request(each))
            for number, each in enumerate(questions, first)
        ]

        async def converse() -> list[dict[str, Any]]:
            for line in lines:
                dispatch.accept(self.app, line)
            ends = dict[int, dict[str, Any]]()
            while len(ends) < len(lines):
                reply = await self._wait(waiting)
                if "streaming" not in reply:
                    ends[reply["id"]] = reply
            return [ends[number] for number in range(first, first + len(lines))]

        found: list[dict[str, Any]] = self.run(converse())
        return found

    def play(
        self,
        requests: Iterable[tuple[float, bytes]],
        take: Callable[[Literal["sidecar", "host"], bytes, datetime], None],
    ) -> None:
        """Send the lines of *requests*, each after a pause in seconds, and wait until all have ended.

        *take* gets every line in both directions, and who reads it.
        """

        async def send() -> None:
            self._watch = lambda line: take("host", line, datetime.now(UTC))
            for pause_seconds, line in requests:
                await event_loop.sleep(pause_seconds)
                take("sidecar", line, datetime.now(UTC))
                dispatch.accept(self.app, line)
            self.app.requests.end_input()
            await self.app.requests.wait_until_idle()
            await self.app.write_queue.flush()

        self.run(send())

    def run(self, coroutine: Coroutine[Any, Any, Any], *, waiting: str = "") -> Any:
        """Run what needs the loop of the app; *waiting* as in `ask`."""

        async def show() -> Any:
            async with anyio.create_task_group() as tasks:
                if waiting and self._terminal.shows_progress:
                    tasks.start_soon(self._show_progress, waiting)
                result = await coroutine
                tasks.cancel_scope.cancel()
                return result

        try:
            return self._run(show())
        finally:
            self._terminal.clear_progress()

    def close(self) -> None:
        """Write what is on its way to the user's files."""
        if self.app.may_have_asked:
            self._run(event_loop.give_time(FLUSH_SECONDS, self.app.upstream.flush))

    # --- in the loop ------------------------------------------------------------------------

    async def _show_progress(self, waiting: str) -> None:
        while True:
            self._terminal.draw_progress(waiting)
            await anyio.sleep(TICK_SECONDS)

    async def _converse(self, line: bytes, take: Take, waiting: str) -> dict[str, Any]:
        dispatch.accept(self.app, line)
        try:
            return await self._read(take, waiting)
        except anyio.get_cancelled_exc_class():
            self._terminal.clear_progress()
            raise InterruptedRequestError(await self._cancel()) from None

    async def _read(self, take: Take, waiting: str) -> dict[str, Any]:
        while True:
            reply = await self._wait(waiting)
            if reply.get("id") != self._last_id:
                continue
            if "error" in reply:
                raise FailedError(reply["error"])
            data: dict[str, Any] = reply["data"]
            if "streaming" not in reply or data["type"] == "done":
                return data
            if data["type"] == "status":
                waiting = describe_status(data) or waiting
                continue
            if data["type"] == "reasoning":
                waiting = "the model is thinking"
            take(data)

    async def _wait(self, waiting: str) -> dict[str, Any]:
        while not self._replies:
            if self._failure is not None:
                raise self._failure
            self._arrived = event_loop.Event()
            if waiting and self._terminal.shows_progress:
                self._terminal.draw_progress(waiting)
                with anyio.move_on_after(TICK_SECONDS):
                    await self._arrived.wait()
            else:
                await self._arrived.wait()
        return self._replies.popleft()

    async def _cancel(self) -> dict[str, Any]:
        """Cancel the open request and return the error that it ends with."""
        ended: list[dict[str, Any]] = []

        async def read() -> None:
            try:
                await self._read(lambda _: None, "")
            except FailedError as error:
                ended.append(error.body)

        dispatch.accept(self.app, msgspec.json.encode({"action": "cancel", "params": {"id": self._last_id}}))
        await event_loop.give_time(CANCEL_SECONDS, read)
        return ended[0] if ended else {}

    def _take_batch(self, batch: bytes, on_written: Callable[[bool], None]) -> bool:  # noqa: ARG002 - it never waits
        for line in batch.splitlines():
            if self._watch is not None:
                self._watch(line)
                continue
            reply = msgspec.json.decode(line)
            if "event" in reply:
                self.warnings.append(reply["data"]["message"])
            else:
                self._replies.append(reply)
        self._arrived.set()
        return True

    def _fail(self, failure: BaseException) -> None:
        self._failure = failure
        self._arrived.set()


def _make_request(question: Question) -> dict[str, Any]:
    return {"action": question.action, "provider": question.provider, "params": question.params}


def describe_status(status: Mapping[str, Any]) -> str:
    """Return what a `status` chunk says of a wait, in words for a person; empty if the command's own words do."""
    seconds = round(status.get("wait_ms", 0) / 1000)
    words = {
        "queued": "waiting for a free place",
        "retrying": f"the provider has no answer; asking again in {seconds} s",
        "connecting": "connecting",
    }
    return words.get(str(status.get("state")), "")
