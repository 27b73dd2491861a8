"""The ledger: one row for each attempt, and reservations, on their way to the file by one worker thread.

The ledger never fails or delays a chat. When the file cannot be used, it warns once, and rows wait in
memory up to a limit. Must not know wires or HTTP.
"""

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import anyio
import anyio.to_thread

from protocol.replies import Warn
from sidecar.core.errors import SidecarError
from sidecar.core.event_loop import TaskStarter
from sidecar.core.log import log
from sidecar.usage.kinds import KINDS
from sidecar.usage.ledger_errors import LedgerError
from sidecar.usage.ledger_row import PastAnswer, Row, join_rows
from sidecar.usage.spending import Reservation, Reserved, Spending, Sums

if TYPE_CHECKING:
    from sidecar.usage.ledger_file import Found

T = TypeVar("T")

MINUTE_SECONDS = 60.0
"""How long rows that attempts share are open for more of them."""

LINGER_SECONDS = 0.2
"""How long the first row of a batch waits for others."""

MAX_WAITING = 20_000
"""The most rows that wait for the file; beyond that the oldest are dropped."""

PRUNE_EVERY = 10_000
"""Rows written between two deletions of the oldest rows; the first write deletes too."""

RETRY_SECONDS = 10.0
"""How long the ledger waits before it tries a file again that could not be used."""

REFRESH_SECONDS = 2.0
"""The oldest that the sums may be when a budget is checked: other processes spend too."""

READ_SECONDS = 1.0
"""The longest that a chat under a budget waits for newer sums."""

RENEW_SECONDS = 20.0
"""How often reservations are renewed, so that those of a process that was killed can expire."""


class Ledger:
    """The rows of this process on their way to the file at *path*; None: the ledger is switched off."""

    def __init__(self, path: str | None, tasks: TaskStarter, warn: Callable[[Warn], None]) -> None:
        self._path = Path(path) if path else None
        self._tasks = tasks
        self._warn = warn
        """Called once, with the reason why the file cannot be used."""
        self._has_warned = False
        self._rows: deque[Row] = deque(maxlen=MAX_WAITING)
        self._shared: dict[tuple[object, ...], Row] = {}
        """Rows that more attempts may share, by what these have in common. They are few: each is of this minute."""
        self._writing: list[Row] = []
        self._is_due = False
        """Whether a task is going to write."""
        self._turn = anyio.Lock()
        self._thread = anyio.CapacityLimiter(1)
        self._leave_alone_until = 0.0
        self._since_prune: int | None = None
        self._spending = Spending()
        self._process = os.urandom(8).hex()
        """The name of this process in the file."""
        self._written: Mapping[str, int] = {}
        """What this process reserves according to the file."""
        self._read_at = float("-inf")
        self._has_read = anyio.Event()
        self._has_read.set()
        self._is_renewing = self._is_renewal_due = False
        self.warned: set[tuple[str, str | None]] = set()
        """The budgets whose warning was given: the days, and the provider or None for all."""

    def add(self, row: Row) -> None:
        """Take *row*, and write it soon."""
        if self._path is None:
            self._spending.add([row.cost])
            return
        if KINDS[row.kind].by_minute:
            self._share(row)
            return
        self._rows.append(row)
        self._write_soon()

    def _share(self, row: Row) -> None:
        if not self._shared:
            self._tasks.start_soon(self._end_minute)
        known = self._shared.get(row.shared_by)
        self._shared[row.shared_by] = row if known is None else join_rows(known, row)

    async def _end_minute(self) -> None:
        await anyio.sleep(MINUTE_SECONDS)
        self._close_shared()
        if self._rows:
            self._write_soon()

    def _close_shared(self) -> None:
        """Have the rows that attempts share written as they are."""
        self._rows.extend(self._shared.values())
        self._shared.clear()

    def reserve(self, provider: str, picousd: int) -> Reservation:
        """Count *picousd* as spent at *provider* until it is released; soon in other processes too."""
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
            await self._flush()
        self._is_renewing = False

    def sum_spent(self, days: str, provider: str | None) -> int:
        """Return the picodollars spent on days that begin with *days*, at *provider* or, for None, at all."""
        unwritten = Spending()
        unwritten.add(row.cost for row in (*self._writing, *self._rows, *self._shared.values()))
        return self._spending.sum_spent(days, provider) + unwritten.sum_spent(days, provider)

    def sum_reserved(self, provider: str | None) -> int:
        """Return the picodollars that all processes reserve, at *provider* or, for None, at all."""
        return self._spending.sum_reserved(provider)

    async def refresh(self, since: str) -> None:
        """Read what all processes have spent since the day *since* and reserve now, unless that was done just now.

        If the file is slow, this returns without it, and the next chat has the result.
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
        def read(path: Path) -> tuple[Sums, dict[str, int]]:
            from sidecar.usage import ledger_file  # SQLite comes with it: only a process that has asked somebody pays.

            return ledger_file.read_spending(path, since, self._process)

        async with self._turn:
            with suppress(SidecarError):
                self._spending.sums, self._spending.reserved_by_others = await self._in_thread(read)
        has_read.set()

    async def report(self, by: Sequence[str], since: str | None, until: str | None, provider: str | None) -> "Found":
        """Return what `ledger_file.report` finds, once all rows are written.

        Raises: SidecarError `invalid_request` if the ledger is off, `internal_error` if the file cannot be used.
        """

        def read(path: Path) -> "Found":
            from sidecar.usage import ledger_file  # SQLite comes with it: only a process that has asked somebody pays.

            return ledger_file.report(path, by, since, until, provider)

        if self._path is None:
            raise SidecarError("invalid_request", "The ledger is switched off.", reason="ledger_off")
        self._close_shared()
        async with self._turn:
            with anyio.CancelScope(shield=True):
                # A cancelled request must not lose the rows that are being written.
                await self._write()
            return await self._in_thread(read)

    async def read_answers(
        self, models: Sequence[tuple[str, str]], limit: int
    ) -> dict[tuple[str, str], list[PastAnswer]]:
        """Return what `ledger_file.read_answers` finds; nothing without a ledger, or if its file cannot be used."""

        def read(path: Path) -> dict[tuple[str, str], list[PastAnswer]]:
            from sidecar.usage import ledger_file  # SQLite comes with it: only a process that has asked somebody pays.

            return ledger_file.read_answers(path, models, limit)

        if self._path is None or anyio.current_time() < self._leave_alone_until:
            return {}
        async with self._turn:
            with suppress(SidecarError):
                return await self._in_thread(read)
        return {}

    async def flush(self) -> None:
        """Write what waits, unless the file could not be used a moment ago."""
        self._close_shared()
        await self._flush()

    async def _flush(self) -> None:
        async with self._turn:
            if anyio.current_time() >= self._leave_alone_until:
                with suppress(SidecarError):
                    await self._write()

    @property
    def _is_behind(self) -> bool:
        """Whether the file lacks something that this process knows."""
        return bool(self._rows) or self._written != self._spending.reserved or self._is_renewal_due

    def _write_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._tasks.start_soon(self._write_until_done)

    async def _write_until_done(self) -> None:
        while self._is_behind:
            delay = self._leave_alone_until - anyio.current_time()
            await anyio.sleep(max(LINGER_SECONDS, delay))
            await self._flush()
        self._is_due = False

    async def _write(self) -> None:
        """Write the rows that wait, and the reservations. The caller holds the turn.

        Raises: SidecarError `internal_error` if the file cannot be used; the rows then keep waiting.
        """
        if not self._is_behind:
            return
        self._writing = [*self._rows]
        self._rows.clear()
        reserved = Reserved(self._process, dict(self._spending.reserved))
        prune = self._since_prune is None or self._since_prune >= PRUNE_EVERY
        columns = [row.make_columns() for row in self._writing]

        def write(path: Path) -> int:
            from sidecar.usage import ledger_file  # SQLite comes with it: only a process that has asked somebody pays.

            return ledger_file.write(path, columns, reserved, prune=prune)

        try:
            refused = await self._in_thread(write)
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

    async def _in_thread(self, use: Callable[[Path], T]) -> T:
        """Return what *use* does with the file; it imports `ledger_file`, which comes with SQLite, by itself.

        Raises: SidecarError `internal_error` if the file cannot be used.
        """
        path = cast("Path", self._path)

        def call() -> T | LedgerError:
            try:
                return use(path)
            except LedgerError as error:
                return error
            except ImportError:
                # Some Pythons come without it.
                return LedgerError("no_sqlite")
            except MemoryError:
                return LedgerError("no_memory")

        try:
            result = await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._thread)
        except (RuntimeError, MemoryError):
            # There is none for the thread itself.
            result = LedgerError("no_memory")
        if not isinstance(result, LedgerError):
            return result
        self._leave_alone_until = anyio.current_time() + RETRY_SECONDS
        if not self._has_warned:
            self._has_warned = True
            log("warn", "ledger.unusable", reason=result.reason)
            self._warn(result.to_warning())
        raise result.to_refusal()
