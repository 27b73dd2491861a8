"""What was asked and what it cost: one row for each attempt, written in batches by one worker thread.

Nothing here ever fails or holds up a chat: a file that cannot be used is said once and the rows wait,
as many as fit. No row has content or a credential. Must not know wires or HTTP.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import msgspec

from protocol.messages import Usage
from protocol.replies import Warn
from sidecar.core.errors import SidecarError
from sidecar.core.log import log
from sidecar.usage.ledger_errors import LedgerError
from sidecar.usage.spending import Reservation, Reserved, Spending

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from sidecar.usage.ledger_file import Found

LINGER_SECONDS = 0.2
"""How long the first row of a batch waits for more."""

MAX_WAITING = 20_000
"""Rows that wait for the file; beyond that the oldest go."""

PRUNE_EVERY = 10_000
"""Rows between two looks whether there are too many; the first write looks too."""

RETRY_SECONDS = 10.0
"""How long a file that cannot be used is left alone."""

REFRESH_SECONDS = 2.0
"""How old the sums may be when a budget is judged by them: other processes spend too."""

READ_SECONDS = 1.0
"""How long a chat under a budget waits for them at most."""

RENEW_SECONDS = 20.0
"""How often what is reserved is written again, which a process that was killed does not do."""

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

    @property
    def cost(self) -> tuple[str, str, int]:
        """Day, provider, and what is known of the cost."""
        return self.at[:10], self.provider, self.cost_picousd or 0

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
        self._spending = Spending()
        self._process = token_hex(8)
        """The name of this process in the file."""
        self._written: Mapping[str, int] = {}
        """What the file says that this process reserves."""
        self._read_at = float("-inf")
        self._has_read = anyio.Event()
        self._has_read.set()
        self._is_renewing = self._is_renewal_due = False
        self.warned: set[tuple[str, str | None]] = set()
        """The budgets of which it was said that they run out: the days, and whose."""

    def add(self, row: Row) -> None:
        """Take *row*; it is in the file soon."""
        if self._path is None:
            self._spending.add([row.cost])
            return
        self._rows.append(row)
        self._write_soon()

    def reserve(self, provider: str, picousd: int) -> Reservation:
        """Count *picousd* as spent at *provider* until it is released, soon for other processes too."""
        if not picousd:
            return Reservation(lambda: None)
        self._change_reserved(provider, picousd)
        return Reservation(lambda: self._change_reserved(provider, -picousd))

    def _change_reserved(self, provider: str, picousd: int) -> None:
        self._spending.reserve(provider, picousd)
        if self._path is None:
            return
        self._write_soon()
        if not self._is_renewing:
            self._is_renewing = True
            self._tasks.start_soon(self._renew)

    async def _renew(self) -> None:
        while self._spending.reserved:
            await anyio.sleep(RENEW_SECONDS)
            self._is_renewal_due = True
            await self.flush()
        self._is_renewing = False

    def spent(self, days: str, provider: str | None) -> int:
        """Return millionths of a millionth of a dollar spent on days that begin with *days*, by one provider or all."""
        waiting = [row.cost for row in (*self._writing, *self._rows)]
        unwritten = Spending()
        unwritten.add(waiting)
        return self._spending.spent(days, provider) + unwritten.spent(days, provider)

    def reserved(self, provider: str | None) -> int:
        """Return what the attempts in progress of all processes are expected to cost, at one provider or all."""
        return self._spending.held(provider)

    async def refresh(self, since: str) -> None:
        """Read what every process has spent from the day *since* on, and reserves, unless that was done just now.

        A file that is slow is not waited for long: the next chat then has what it says.
        """
        if self._path is None:
            return
        now = anyio.current_time()
        if now >= max(self._read_at + REFRESH_SECONDS, self._leave_alone_until):
            self._read_at, self._has_read = now, anyio.Event()
            self._tasks.start_soon(self._read, since, self._has_read)
        with anyio.move_on_after(READ_SECONDS):
            await self._has_read.wait()

    async def _read(self, since: str, has_read: anyio.Event) -> None:
        async with self._turn:
            with suppress(SidecarError):
                found = await self._in_thread("read_spending", since, self._process)
                self._spending.sums, self._spending.reserved_by_others = found
        has_read.set()

    async def report(self, by: Sequence[str], since: str | None, until: str | None, provider: str | None) -> "Found":
        """Return what `ledger_file.report` finds, the rows that wait included.

        Raises: SidecarError `invalid_request` when it is switched off, `internal_error` when it cannot be read.
        """
        if self._path is None:
            raise SidecarError("invalid_request", "The ledger is switched off.", reason="ledger_off")
        async with self._turn:
            with anyio.CancelScope(shield=True):
                # The rows on their way are not lost when the request is cancelled.
                await self._write()
            found: Found = await self._in_thread("report", by, since, until, provider)
            return found

    async def flush(self) -> None:
        """Write what waits, unless the file could not be used just now."""
        async with self._turn:
            if anyio.current_time() >= self._leave_alone_until:
                with suppress(SidecarError):
                    await self._write()

    @property
    def _is_behind(self) -> bool:
        """Whether the file lacks anything that this process knows."""
        return bool(self._rows) or self._written != self._spending.reserved or self._is_renewal_due

    def _write_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._tasks.start_soon(self._write_until_done)

    async def _write_until_done(self) -> None:
        while self._is_behind:
            delay = self._leave_alone_until - anyio.current_time()
            await anyio.sleep(max(LINGER_SECONDS, delay))
            await self.flush()
        self._is_due = False

    async def _write(self) -> None:
        """Write the rows that wait, and what is reserved. The turn is held.

        Raises: SidecarError `internal_error` when the file cannot be used; the rows wait on.
        """
        if not self._is_behind:
            return
        self._writing = [*self._rows]
        self._rows.clear()
        reserved = Reserved(self._process, dict(self._spending.reserved))
        prune = self._since_prune is None or self._since_prune >= PRUNE_EVERY
        values = [row.values() for row in self._writing]
        try:
            refused = await self._in_thread("write", values, reserved, prune=prune)
        except SidecarError:
            self._rows = deque([*self._writing, *self._rows], maxlen=MAX_WAITING)
            raise
        else:
            if refused:
                log("warn", "ledger.rows_refused", count=refused)
            self._since_prune = (0 if prune else self._since_prune or 0) + len(self._writing)
            self._spending.add(row.cost for row in self._writing)
            self._written, self._is_renewal_due = reserved.amounts, False
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


def timestamp(at: datetime) -> str:
    """Return *at* as the ledger writes it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
