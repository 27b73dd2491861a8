"""The process of a driver: operations go to its stdin, reports come from its stdout, all within a limit of time."""

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from typing import Any

import anyio
import msgspec
from anyio.abc import ByteReceiveStream, Process

from sidecar.kit.contract import Operation, Report, Request
from sidecar.kit.lines import LineCutter
from sidecar.kit.patterns import expand, fits, show
from sidecar.kit.scenario import Await, HostStep, Pause

STDERR_BYTES = 8192
"""How much of what the driver writes to stderr is kept."""

MOST_BAD_LINES = 20
MOST_BYTES = 512 * 1024 * 1024
"""A driver that writes more is killed, so that its output does not fill the memory."""

GRACE_SECONDS = 1.0
"""How long stdout may stay open after the driver has ended, in the hands of a process that it has left behind."""

AT_END = "the driver to end after `close`"

_encoder = msgspec.json.Encoder()
_report = msgspec.json.Decoder(dict[str, Any])


class Moment(msgspec.Struct, frozen=True):
    """Something that the driver was told, or has reported."""

    at_ms: float
    """Milliseconds of the monotonic clock."""
    told: Operation | None = None
    report: dict[str, Any] | None = None
    bad: str = ""
    """What is wrong with a line that is no report."""


class Drive(msgspec.Struct):
    """What came of one run of a driver."""

    moments: list[Moment] = []
    waiting_for: str = ""
    """What had not come when the time was over, when it could not come any more, or when the driver ended."""
    time_over: bool = False
    exit_code: int | None = None
    pid: int = 0
    """The driver's, and that of the group of processes that it has started."""
    stderr: bytes = b""


async def drive(command: list[str], env: Mapping[str, str], steps: list[HostStep], limit_ms: int) -> Drive:
    """Run a driver, tell it the *steps*, and return what it has reported.

    It has ended then. What it has left behind runs on until `end_group`.

    Raises: OSError if it cannot be started.
    """
    process = await anyio.open_process(command, env=env, start_new_session=True)
    session = Session(process)
    session.drive.time_over = True
    session.drive.waiting_for = "the end of the driver"
    session.drive.pid = process.pid
    try:
        with anyio.move_on_after(limit_ms / 1000):
            async with anyio.create_task_group() as group:
                group.start_soon(session.read_reports)
                group.start_soon(session.read_stderr)
                await session.tell(steps)
                await process.wait()
                session.drive.time_over = False
                with anyio.move_on_after(GRACE_SECONDS):
                    await session.ended.wait()
                group.cancel_scope.cancel()
    except BaseException:
        end_group(process.pid)
        raise
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.wait()
            await process.aclose()
    session.drive.exit_code = process.returncode
    return session.drive


def end_group(pid: int) -> None:
    """Kill whatever the driver *pid* has started and left behind, where the system has groups of processes."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


class Session:
    """A driver that runs."""

    def __init__(self, process: Process) -> None:
        self.drive = Drive()
        self.ended = anyio.Event()
        """Set when stdout has ended."""
        self._process = process
        self._changed = anyio.Event()
        self._awaited: Any = None
        self._count = 0
        self._futile = False
        self._bad = 0

    async def tell(self, steps: list[HostStep]) -> None:
        """Carry out the *steps*, of which the last one is `close`.

        When something that is waited for cannot come any more, the rest is left out. A driver that has ended is told
        no more.
        """
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101 - anyio opens a pipe unless told otherwise
        self.drive.waiting_for = AT_END
        try:
            for step in steps:
                match step:
                    case Pause(ms):
                        await anyio.sleep(ms / 1000)
                    case Await():
                        if not await self._wait_for(step):
                            await stdin.send(_encoder.encode(steps[-1]) + b"\n")
                            return
                    case _:
                        line = _encoder.encode(expand(msgspec.to_builtins(step), {})) + b"\n"
                        self.drive.moments.append(Moment(at_ms=time.monotonic() * 1000, told=step))
                        await stdin.send(line)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            if self.drive.waiting_for == AT_END:
                self.drive.waiting_for = "the driver to read its stdin"

    async def _wait_for(self, step: Await) -> bool:
        """Return whether the reports came; False: they cannot come any more."""
        self.drive.waiting_for = f"{step.count} of {show(step.report)}" if step.count > 1 else show(step.report)
        self._awaited = expand(step.report, {})
        reports = [moment.report for moment in self.drive.moments if moment.report is not None]
        self._count = sum(fits(self._awaited, report) for report in reports)
        asked = [at for at, moment in enumerate(self.drive.moments) if _is_request_of(moment, self._awaited)]
        later = [moment.report for moment in self.drive.moments[max(asked, default=0) :] if moment.report is not None]
        self._futile = any(is_futile(self._awaited, each) and not fits(self._awaited, each) for each in later)
        while self._count < step.count:
            if self.ended.is_set() or self._futile:
                return False
            self._changed = anyio.Event()
            await self._changed.wait()
        self.drive.waiting_for = AT_END
        return True

    async def read_reports(self) -> None:
        """Read stdout to its end."""
        stdout = self._process.stdout
        assert stdout is not None  # noqa: S101 - as above
        cutter = LineCutter()
        read_bytes = 0
        while (data := await _receive(stdout)) and not self._gives_up(read_bytes):
            read_bytes += len(data)
            for line in cutter.feed(data):
                self._take(line)
        if last := cutter.end():
            self._take(last)
        self.ended.set()
        self._changed.set()

    def _gives_up(self, read_bytes: int) -> bool:
        """Kill a driver that writes without end, and return whether it does."""
        if self._bad < MOST_BAD_LINES and read_bytes < MOST_BYTES:
            return False
        self.drive.moments.append(Moment(at_ms=time.monotonic() * 1000, bad="and so on, so the driver was killed"))
        self._process.kill()
        return True

    def _take(self, line: bytes) -> None:
        at_ms = time.monotonic() * 1000
        try:
            report = _report.decode(line)
            msgspec.convert(report, Report)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            text = f"{show(line.decode('utf-8', 'replace'))}: {error}"
            self._bad += 1
            if self._bad <= MOST_BAD_LINES:
                self.drive.moments.append(Moment(at_ms=at_ms, bad=text))
            return
        self.drive.moments.append(Moment(at_ms=at_ms, report=report))
        if self._awaited is not None and fits(self._awaited, report):
            self._count += 1
            self._changed.set()
        elif self._awaited is not None and is_futile(self._awaited, report):
            self._futile = True
            self._changed.set()

    async def read_stderr(self) -> None:
        """Read stderr to its end."""
        stderr = self._process.stderr
        assert stderr is not None  # noqa: S101 - as above
        while data := await _receive(stderr):
            self.drive.stderr = (self.drive.stderr + data)[-STDERR_BYTES:]


def _is_request_of(moment: Moment, awaited: dict[str, Any]) -> bool:
    return isinstance(moment.told, Request) and moment.told.id == awaited.get("id")


def is_futile(awaited: dict[str, Any], report: dict[str, Any]) -> bool:
    """Return whether, after *report*, it is no use to wait for a report that fits *awaited*."""
    match awaited["event"], report["event"]:
        case "chunk" | "done" | "error", "done" | "error":
            return bool(awaited.get("id") == report["id"])
        case "ready", "exit":
            return report["restarting"] is False
        case ("ready", "refused") | ("refused", "ready"):
            return True
    return False


async def _receive(stream: ByteReceiveStream) -> bytes:
    """Return what comes next; nothing at the end."""
    try:
        return await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        return b""
