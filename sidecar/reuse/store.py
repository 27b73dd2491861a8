"""Where answers are kept: in this process, or in the file that the user has enabled.

A file that cannot be used never fails a chat: nothing is found, and nothing is stored. Must not know what an answer is.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import anyio
import anyio.to_thread

from protocol.replies import Warn
from sidecar.core.errors import SidecarError
from sidecar.core.event_loop import TaskStarter
from sidecar.core.log import log
from sidecar.reuse.memory_store import MemoryStore
from sidecar.reuse.question import Question
from sidecar.upstream.caches import AnswerStore, FoundAnswer
from sidecar.upstream.context import Upstream

T = TypeVar("T")

RETRY_SECONDS = 10.0
"""How long an unusable file is left alone."""


def find_store(up: Upstream) -> AnswerStore:
    """Return the store of this process."""
    if up.answers is None:
        config = up.config
        path, max_bytes = config.reuse_path, config.reuse_max_bytes
        up.answers = MemoryStore(max_bytes) if path is None else FileStore(Path(path), max_bytes, up.tasks, up.warn)
    return up.answers


class _Pending(NamedTuple):
    """An answer on its way to the file."""

    question: Question
    data: bytes
    ttl_seconds: float
    kept_at: float
    """On the event loop's clock."""
    epoch: int


class FileStore:
    """The answers in the file at *path*, at most *max_bytes* of them."""

    def __init__(self, path: Path, max_bytes: int, tasks: TaskStarter, warn: Callable[[Warn], None]) -> None:
        self.max_bytes = max_bytes
        self._path = path
        self._tasks = tasks
        self._warn = warn
        self._has_warned = False
        self._leave_alone_until = 0.0
        self._thread = anyio.CapacityLimiter(4)
        self._pending: dict[Question, _Pending] = {}
        """Answers that wait to be written, at most *max_bytes* of them. Until then, they are found here."""
        self._pending_bytes = 0
        self._turn = anyio.Lock()

    async def find(self, question: Question) -> FoundAnswer:
        """Return the answer to *question*, if there is one."""
        pending = self._pending.get(question)
        if pending is not None:
            return FoundAnswer(pending.data, anyio.current_time() - pending.kept_at, pending.epoch)

        def look(path: Path) -> FoundAnswer:
            from sidecar.reuse import answer_file  # SQLite comes with it.

            return answer_file.find(path, question)

        return await self._use(look) or FoundAnswer(None, 0.0, None)

    def keep(self, question: Question, data: bytes, ttl_seconds: float, epoch: int) -> None:
        """Store *data* for *ttl_seconds*, unless answers were forgotten since *epoch*. It can be found at once."""
        self._drop(question)
        if self._pending_bytes + len(data) > self.max_bytes:
            return
        self._pending[question] = _Pending(question, data, ttl_seconds, anyio.current_time(), epoch)
        self._pending_bytes += len(data)
        if len(self._pending) == 1:
            self._tasks.start_soon(self.flush)

    async def flush(self) -> None:
        """Wait until everything is written, or the file has turned out to be unusable."""
        async with self._turn:
            while self._pending:
                pending = next(iter(self._pending.values()))
                await self._use(partial(_write, pending, self.max_bytes))
                if self._pending.get(pending.question) is pending:
                    self._drop(pending.question)

    def _drop(self, question: Question) -> None:
        pending = self._pending.pop(question, None)
        if pending is not None:
            self._pending_bytes -= len(pending.data)

    async def forget(self, scope: str) -> int:
        """Forget the answers of *scope*, and return how many there were.

        Raises: SidecarError `internal_error` if the file cannot be used. The answers are then still stored.
        """

        def remove(path: Path) -> int:
            from sidecar.reuse import answer_file  # SQLite comes with it.

            return answer_file.forget(path, scope)

        await self.flush()
        self._leave_alone_until = 0.0
        forgotten = await self._use(remove)
        if forgotten is None:
            text = "The file of stored answers cannot be used, so nothing was forgotten."
            raise SidecarError("internal_error", text, reason="answers_unusable", hint=f"Delete {self._path.name}.")
        return forgotten

    async def _use(self, action: Callable[[Path], T]) -> T | None:
        """Return the result of *action* on the file, or None if the file cannot be used."""

        def call() -> tuple[T | None, bool, str | None]:
            from sidecar.reuse import answer_file  # SQLite comes with it.

            try:
                return *answer_file.use(self._path, action), None
            except answer_file.UnusableError as error:
                return None, False, str(error)

        if anyio.current_time() < self._leave_alone_until:
            return None
        try:
            result, was_corrupt, reason = await anyio.to_thread.run_sync(
                call, abandon_on_cancel=True, limiter=self._thread
            )
        except ImportError:
            # Some Pythons come without SQLite.
            result, was_corrupt, reason = None, False, "no_sqlite"
        if was_corrupt:
            log("warn", "answers.corrupt")
            text = "The file of stored answers was corrupt. It was set aside, and a new one was begun."
            self._warn(Warn(code="answers_corrupt", message=text))
        if reason is not None:
            self._note_unusable(reason)
        return result

    def _note_unusable(self, reason: str) -> None:
        if reason == "busy":
            # Another process is writing. The next chat tries again.
            return
        self._leave_alone_until = anyio.current_time() + RETRY_SECONDS
        if not self._has_warned:
            self._has_warned = True
            log("warn", "answers.unusable", reason=reason)
            text = f"The file of stored answers cannot be used ({reason}). Chats go on without it."
            self._warn(Warn(code="answers_unusable", message=text))


def _write(pending: _Pending, max_bytes: int, path: Path) -> None:
    from sidecar.reuse import answer_file  # SQLite comes with it.

    data, ttl_seconds, epoch = pending.data, pending.ttl_seconds, pending.epoch
    answer_file.keep(path, pending.question, data, ttl_seconds, epoch=epoch, max_bytes=max_bytes)
