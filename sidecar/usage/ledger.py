"""What was asked and what it cost: one row for each attempt, written in batches by one worker thread.

Nothing here ever fails or holds up a chat: a file that cannot be used is said once and the rows wait,
as many as fit. No row has content or a credential. Must not know wires or HTTP.
"""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import msgspec

from protocol.messages import Usage
from protocol.replies import Warn
from sidecar.core.errors import SidecarError
from sidecar.core.log import log
from sidecar.usage.ledger_errors import LedgerError

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from sidecar.usage.ledger_file import Found, Sums

LINGER_SECONDS = 0.2
"""How long the first row of a batch waits for more."""

MAX_WAITING = 20_000
"""Rows that wait for the file; beyond that the oldest go."""

PRUNE_EVERY = 10_000
"""Rows between two looks whether there are too many; the first write looks too."""

RETRY_SECONDS = 10.0
"""How long a file that cannot be used is left alone."""

READ_AGAIN_SECONDS = 15.0
"""How old the sums may be before a budget is judged by them: other processes spend too."""

FIRST_READ_SECONDS = 1.0
"""How long the first chat under a budget waits for them."""

MAX_TOKENS = 10**12
"""The most tokens that one attempt is believed to use: a count beyond that is a provider's mistake, and unknown."""


class Row(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One attempt, in the order of `ledger_schema.COLUMNS`."""

    at: str
    """When it ended, ISO 8601 in UTC."""
    action: str
    """What the host asked."""
    kind: str
    """What the provider was asked, of `sidecar.usage.kinds`."""
    provider: str
    model: str
    outcome: str
    """`ok`, `failed`, `cancelled`."""
    code: str | None
    finish_reason: str | None
    usage: Usage | None
    cost_picousd: int | None
    latency_ms: int
    first_chunk_ms: int | None

    def values(self) -> tuple[Any, ...]:
        """Return the columns."""
        used = self.usage or Usage()
        counts = (
            *(used.input_tokens, used.output_tokens, used.cache_read_tokens, used.cache_write_tokens),
            *(used.cache_write_1h_tokens, used.reasoning_tokens),
        )
        return (
            *(self.at, self.action, self.kind, self.provider, self.model, self.outcome, self.code, self.finish_reason),
            *(count if count is None or 0 <= count <= MAX_TOKENS else None for count in counts),
            *(self.cost_picousd, self.latency_ms, self.first_chunk_ms),
        )


class Ledger:
    """The rows of this process on their way to the file at *path*; None: it is switched off."""

    def __init__(self, path: str | None, tasks: "TaskGroup", warn: Callable[[Warn], None]) -> None:
        self._path = Path(path) if path else None
        self._tasks = tasks
        self._warn = warn
        """Told once why the file cannot be used."""
        self._has_warned = False
        self._rows: deque[Row] = deque(maxlen=MAX_WAITING)
        self._writing: list[Row] = []
        self._is_due = False
        """Whether a write is on its way."""
        self._turn = anyio.Lock()
        self._thread = anyio.CapacityLimiter(1)
        self._leave_alone_until = 0.0
        self._since_prune: int | None = None
        self._sums: Sums = {}
        """As last read from the file, and what was written since."""
        self._read_at = float("-inf")
        self._has_read = anyio.Event()
        self.warned: set[tuple[str, str | None]] = set()
        """The budgets of which it was said that they run out: the days, and whose."""

    def add(self, row: Row) -> None:
        """Take *row*; it is in the file soon."""
        if self._path is None:
            _add(self._sums, [row])
            return
        self._rows.append(row)
        if not self._is_due:
            self._is_due = True
            self._tasks.start_soon(self._write_soon)

    def spent(self, days: str, provider: str | None) -> int:
        """Return millionths of a millionth of a dollar spent on days that begin with *days*, by one provider or all."""
        sums = dict(self._sums)
        _add(sums, [*self._writing, *self._rows])
        return sum(spent for (day, name), spent in sums.items() if day.startswith(days) and provider in (None, name))

    async def refresh(self, since: str) -> None:
        """Read what was spent from the day *since* on, by every process, unless that was done just now.

        Only the first time is waited for, and not long.
        """
        if self._path is None:
            return
        now = anyio.current_time()
        if now >= self._read_at + READ_AGAIN_SECONDS:
            self._read_at = now
            self._tasks.start_soon(self._read, since)
        with anyio.move_on_after(FIRST_READ_SECONDS):
            await self._has_read.wait()

    async def _read(self, since: str) -> None:
        async with self._turn:
            with suppress(SidecarError):
                self._sums = await self._in_thread("sums", since)
        self._has_read.set()

    async def report(self, by: Sequence[str], since: str | None, until: str | None, provider: str | None) -> "Found":
        """Return what `ledger_file.report` finds, the rows that wait included.

        Raises: SidecarError `invalid_request` when it is switched off, `internal_error` when it cannot be read.
        """
        if self._path is None:
            raise SidecarError("invalid_request", "The ledger is switched off.", reason="ledger_off")
        async with self._turn:
            await self._write()
            found: Found = await self._in_thread("report", by, since, until, provider)
            return found

    async def flush(self) -> None:
        """Write what waits, unless the file could not be used just now."""
        async with self._turn:
            if anyio.current_time() >= self._leave_alone_until:
                with suppress(SidecarError):
                    await self._write()

    async def _write_soon(self) -> None:
        while self._rows:
            pause = self._leave_alone_until - anyio.current_time()
            await anyio.sleep(max(LINGER_SECONDS, pause))
            await self.flush()
        self._is_due = False

    async def _write(self) -> None:
        """Write the rows that wait. The turn is held.

        Raises: SidecarError `internal_error` when the file cannot be used; the rows wait on.
        """
        if not self._rows:
            return
        self._writing = [*self._rows]
        self._rows.clear()
        prune = self._since_prune is None or self._since_prune >= PRUNE_EVERY
        try:
            refused = await self._in_thread("write", [row.values() for row in self._writing], prune=prune)
        except SidecarError:
            self._rows = deque([*self._writing, *self._rows], maxlen=MAX_WAITING)
            raise
        else:
            if refused:
                log("warn", "ledger.rows_refused", count=refused)
            self._since_prune = (0 if prune else self._since_prune or 0) + len(self._writing)
            _add(self._sums, self._writing)
        finally:
            self._writing = []

    async def _in_thread(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Return what the function *name* of `ledger_file` does.

        Raises: SidecarError `internal_error` when the file cannot be used.
        """

        def call() -> tuple[Any, LedgerError | None]:
            try:
                from sidecar.usage import ledger_file  # Only a process that has asked somebody pays for SQLite.
            except ImportError:
                # Not every Python comes with it.
                return None, LedgerError("no_sqlite")
            try:
                return getattr(ledger_file, name)(self._path, *arguments, **options), None
            except LedgerError as error:
                return None, error
            except MemoryError:
                return None, LedgerError("no_memory")

        result, problem = await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._thread)
        if problem is None:
            return result
        self._leave_alone_until = anyio.current_time() + RETRY_SECONDS
        if not self._has_warned:
            self._has_warned = True
            log("warn", "ledger.unusable", reason=problem.reason)
            self._warn(problem.to_warning())
        raise problem.to_refusal()


def _add(sums: "Sums", rows: Sequence[Row]) -> None:
    for row in rows:
        key = (row.at[:10], row.provider)
        sums[key] = sums.get(key, 0) + (row.cost_picousd or 0)


def timestamp(at: datetime) -> str:
    """Return *at* as the ledger writes it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
