"""The client: starts a sidecar, sends requests, and hands each reply to the request that it belongs to."""

from __future__ import annotations

import asyncio
import json
import os
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

from sidecar_client.process import Process
from sidecar_client.requests import Call, Entry, Json, RequestOptions, SidecarError, run_tool

if TYPE_CHECKING:
    from sidecar_client.types import Initialize, Initialized, ToolCall, Warn

PROTOCOL_VERSION = 1

STEADY_S = 60
"""A process that works for so long is no failure in a row."""

CANCELLED = {"code": "cancelled", "message": "The request was cancelled."}
CLOSED = {"code": "shutting_down", "message": "The client was closed."}


class Exit(NamedTuple):
    """The end of a process."""

    code: int | None
    """None if a signal has ended it."""
    restarting: bool
    stderr: str
    """The last 8 KiB of what it wrote for people."""


def _ignore(_: Any) -> None:
    pass


def _find_command() -> Sequence[str]:
    return [os.environ.get("SIDECAR") or "sidecar"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to start the sidecar, and whom to tell of what concerns no request."""

    command: Sequence[str] = field(default_factory=_find_command)
    """The program and its arguments. Default: the path in the variable SIDECAR, or else `sidecar`."""
    initialize: Initialize = field(default_factory=dict)  # type: ignore[assignment] # none of its fields is required
    """The parameters of `initialize`, which is sent to each new process."""
    backoff_ms: float = 1000
    """How long to wait before the first restart; twice as long before each one in a row."""
    max_backoff_ms: float = 30_000
    grace_ms: float = 2000
    """How long to wait for each step of an orderly end, and for the end of a cancelled request."""
    start_ms: float = 30_000
    """How long a process may take to answer `initialize`."""
    on_ready: Callable[[Initialized], None] = _ignore
    on_event: Callable[[Warn], None] = _ignore
    """Gets a warning that belongs to no request."""
    on_exit: Callable[[Exit], None] = _ignore
    on_refused: Callable[[Json], None] = _ignore
    """The sidecar cannot be used, and is not restarted: show the message to the user."""
    on_problem: Callable[[str], None] = warnings.warn
    """A line that belongs to no request, or a handler that has raised: a mistake, of the host's or the sidecar's."""


class Sidecar:
    """A sidecar that is started again when it ends by itself. To be used within one event loop."""

    def __init__(self, options: Options | None = None) -> None:
        self._options = options or Options()
        self._process: Process | None = None
        self._ready_at: float | None = None
        self._refused: Json | None = None
        self._closing = False
        self._entries: dict[Any, Entry] = {}
        self._last_id = 0
        self._restarts = 0
        self._restart: asyncio.TimerHandle | None = None
        self._start_limit: asyncio.TimerHandle | None = None
        self._tasks = set[asyncio.Task[None]]()

    def start(self) -> None:
        """Start the sidecar, also again after it was refused. Requests that come before it is ready wait."""
        if self._process is None and not self._closing:
            if self._restart:
                self._restart.cancel()
            self._refused = None
            self._spawn()

    def request(self, action: str, params: Mapping[str, Any], **options: Unpack[RequestOptions]) -> Call:
        """Send a request. It fails at once if the sidecar cannot be used."""
        loop = asyncio.get_running_loop()
        request = {"action": action, "provider": options.get("provider"), "params": params}
        number, entry = self._add(request, loop.create_future())
        entry.on_chunk = self._make_reader(number, options)

        def forget(reply: asyncio.Future[Any]) -> None:
            if reply.cancelled():
                self._cancel(number)
            else:
                reply.exception()  # A host that has cancelled a request need not look at its end.

        entry.reply.add_done_callback(forget)
        if (deadline_ms := options.get("deadline_ms")) is not None:
            entry.timers.append(loop.call_later(deadline_ms / 1000, self._expire, number, deadline_ms))
        if self._refused or self._closing:
            self._fail(number, self._refused or CLOSED)
        elif self._ready_at is not None:
            self._send(entry)
        return Call(number, entry.reply, lambda: self._cancel(number))

    def kill(self) -> None:
        """End the process, which is started again. For one that no longer answers, not even a `ping`."""
        if self._process:
            self._process.send_signal("SIGKILL")

    async def close(self) -> None:
        """End the sidecar: by the end of its input, and by signals if that does not help. Open requests may finish."""
        self._closing = True
        if self._restart:
            self._restart.cancel()
        for number in [number for number, entry in self._entries.items() if not entry.sent]:
            self._fail(number, CLOSED)
        if (process := self._process) is None:
            return
        process.close_stdin()
        for name in ("SIGTERM", "SIGKILL", None):
            try:
                await asyncio.wait_for(process.ended.wait(), self._options.grace_ms / 1000 if name else None)
            except TimeoutError:
                process.send_signal(name or "")
            else:
                return

    # --- the process -------------------------------------------------------------------------

    def _spawn(self) -> None:
        process = self._process = Process(self._read_lines, self._end)

        async def start() -> None:
            await process.start(self._options.command)
            if not process.ended.is_set():
                self._initialize()

        self._run(start())

    def _initialize(self) -> None:
        loop = asyncio.get_running_loop()
        self._start_limit = loop.call_later(self._options.start_ms / 1000, self.kill)
        params = {"protocol_version": PROTOCOL_VERSION} | dict(self._options.initialize)
        _, entry = self._add({"action": "initialize", "params": params}, loop.create_future())
        entry.reply.add_done_callback(self._take_initialized)
        self._send(entry)

    def _take_initialized(self, reply: asyncio.Future[Any]) -> None:
        if isinstance(error := reply.exception(), SidecarError):
            if error.code != "sidecar_exited":
                self._refuse(error.body)
            return
        initialized = reply.result()
        if (version := initialized.get("protocol_version")) != PROTOCOL_VERSION:
            message = f"The sidecar speaks version {version} of the protocol, not {PROTOCOL_VERSION}."
            self._refuse({"code": "protocol_version", "message": message})
            return
        if self._start_limit:
            self._start_limit.cancel()
        self._ready_at = time.monotonic()
        self._call(self._options.on_ready, initialized)
        for entry in [entry for entry in self._entries.values() if not entry.sent]:
            self._send(entry)

    def _refuse(self, error: Json) -> None:
        self._refused = error
        self._call(self._options.on_refused, error)
        for number in list(self._entries):
            self._fail(number, error)
        if self._process:
            self._process.close_stdin()
            asyncio.get_running_loop().call_later(self._options.grace_ms / 1000, self._process.send_signal, "SIGKILL")

    def _end(self, code: int | None, stderr: str) -> None:
        spawned = self._start_limit is not None
        if self._start_limit:
            self._start_limit.cancel()
        if self._ready_at is not None and time.monotonic() - self._ready_at > STEADY_S:
            self._restarts = 0
        self._process = self._ready_at = self._start_limit = None
        restarting = spawned and code != 2 and not (self._closing or self._refused)
        if not restarting and not self._closing:
            failure = {"code": "sidecar_exited" if spawned else "spawn_failed", "message": stderr.strip()}
            self._refused = self._refused or failure
        message = f"The sidecar has ended ({'by a signal' if code is None else code})."
        ended = {"code": "sidecar_exited", "message": message, "retryable": True}
        for number, entry in list(self._entries.items()):
            if entry.sent:
                self._fail(number, ended | {"partial": entry.chunks > 0})
            elif self._refused or self._closing:
                self._fail(number, self._refused or CLOSED)
        if restarting:
            delay_ms = min(self._options.backoff_ms * 2**self._restarts, self._options.max_backoff_ms)
            self._restarts += 1
            self._restart = asyncio.get_running_loop().call_later(delay_ms / 1000, self._spawn)
        self._call(self._options.on_exit, Exit(code, restarting, stderr))

    # --- lines -------------------------------------------------------------------------------

    def _send(self, entry: Entry) -> None:
        entry.sent = True
        if self._process:
            self._process.write(entry.line)
        entry.line = b""

    def _read_lines(self, lines: list[str]) -> None:
        for text in lines:
            try:
                line = json.loads(text)
            except ValueError:
                if text.strip():
                    self._report("The sidecar has written a line that is no JSON.")
                continue
            number = line.get("id") if isinstance(line, dict) else None
            entry = self._entries.get(number) if isinstance(number, int) else None
            if entry is None:
                self._read_stray(line)
            elif line.get("streaming") is True and line["data"].get("type") != "done":
                entry.chunks += 1
                if entry.cancelled is None and not entry.reply.done():
                    entry.on_chunk(line["data"])
            elif line.get("success") is True and entry.cancelled != "found":
                self._settle(number)
                if not entry.reply.done():
                    entry.reply.set_result(line["data"])
            else:
                self._fail(number, line.get("error") or CANCELLED)

    def _read_stray(self, line: Any) -> None:
        number = line.get("id") if isinstance(line, dict) else None
        if isinstance(line, dict) and "event" in line:
            self._call(self._options.on_event, line.get("data"))
        # A request that has expired may still have lines on their way.
        elif not (isinstance(number, int) and 0 < number <= self._last_id):
            self._report("A line of the sidecar's belongs to no request.")

    # --- requests ----------------------------------------------------------------------------

    def _add(self, request: Json, reply: asyncio.Future[Any]) -> tuple[int, Entry]:
        self._last_id += 1
        line = json.dumps({"id": self._last_id} | request, separators=(",", ":")).encode() + b"\n"
        entry = self._entries[self._last_id] = Entry(line, reply, _ignore)
        return self._last_id, entry

    def _settle(self, number: Any) -> Entry | None:
        entry = self._entries.pop(number, None)
        for timer in entry.timers if entry else ():
            timer.cancel()
        return entry

    def _fail(self, number: Any, error: Mapping[str, Any]) -> None:
        entry = self._settle(number)
        if entry and not entry.reply.done():
            entry.reply.set_exception(SidecarError(error))

    def _cancel(self, number: int) -> None:
        entry = self._entries.get(number)
        if entry is None or entry.cancelled:
            return
        if not entry.sent:
            self._fail(number, CANCELLED)
            return
        entry.cancelled = "sent"
        grace_s = self._options.grace_ms / 1000
        entry.timers.append(asyncio.get_running_loop().call_later(grace_s, self._fail, number, CANCELLED))

        def take(reply: asyncio.Future[Any]) -> None:
            if reply.exception() is None and reply.result().get("found"):
                entry.cancelled = "found"
            elif reply.exception() is None:
                self._fail(number, CANCELLED)

        self._tell("cancel", {"id": number}).add_done_callback(take)

    def _expire(self, number: int, deadline_ms: float) -> None:
        entry = self._entries.get(number)
        if entry and entry.sent and self._process:
            self._tell("cancel", {"id": number})
        self._fail(number, {"code": "timeout", "message": f"No answer in {deadline_ms:g} ms.", "phase": "total"})

    def _tell(self, action: str, params: Mapping[str, Any]) -> asyncio.Future[Any]:
        """Send a request of the client's own, whose failure concerns nobody."""
        return self.request(action, params).reply

    def _make_reader(self, number: int, options: RequestOptions) -> Callable[[Json], None]:
        """Return what takes the chunks of a request: handlers by type, all chunks, and calls of tools."""
        on, on_chunk, tools = options.get("on", {}), options.get("on_chunk", _ignore), options.get("tools")
        calls: dict[str, ToolCall] = {}

        async def answer(call_id: str) -> None:
            result = await run_tool(tools or {}, call_id, calls.get(call_id))
            self._tell("tool_result", {"id": number, "results": [result]})

        def read(chunk: Json) -> None:
            kind = chunk.get("type", "")
            if handler := on.get(kind):
                self._call(handler, chunk)
            self._call(on_chunk, chunk)
            if tools is not None and kind == "tool_call":
                calls[chunk["tool_call"]["id"]] = chunk["tool_call"]
            if tools is not None and kind == "tool_round":
                for call_id in chunk["calls"]:
                    self._run(answer(call_id))

        return read

    def _run(self, coroutine: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _call(self, handler: Callable[[Any], None], argument: Any) -> None:
        try:
            handler(argument)
        except Exception:  # noqa: BLE001 - whatever a handler raises, the lines after it are read
            self._report(f"A handler has raised:\n{traceback.format_exc()}")

    def _report(self, problem: str) -> None:
        self._options.on_problem(problem)
