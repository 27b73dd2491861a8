"""Stored answers in this process. When there is no room, the least recently used are dropped first.

Must not know what an answer is.
"""

import heapq
import os
import time
from collections import OrderedDict
from typing import NamedTuple

from sidecar.reuse.question import Question, hash_scope
from sidecar.upstream.caches import FoundAnswer

ENTRY_BYTES = 512
"""The size of an entry besides its answer, about."""


class _Entry(NamedTuple):
    data: bytes
    scope: bytes
    stored_at: float
    expires_at: float


class MemoryStore:
    """At most *max_bytes* of answers."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._salt = os.urandom(16)
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._expiries: list[tuple[float, bytes]] = []
        """A heap. Keys whose entry is gone or was replaced are skipped."""
        self._bytes = 0
        self._epoch = 0
        """How often answers were forgotten. An answer that began before the last time is not stored."""

    @property
    def used_bytes(self) -> int:
        """The size of all entries."""
        return self._bytes

    async def find(self, question: Question) -> FoundAnswer:
        """Return the answer to *question*, if there is one."""
        now, key = time.time(), question.make_key(self._salt)
        self._drop_expired(now)
        entry = self._entries.get(key)
        if entry is None:
            return FoundAnswer(None, 0.0, self._epoch)
        self._entries.move_to_end(key)
        return FoundAnswer(entry.data, max(0.0, now - entry.stored_at), self._epoch)

    def keep(self, question: Question, data: bytes, ttl_seconds: float, epoch: int) -> None:
        """Store *data* for *ttl_seconds*, unless answers were forgotten since *epoch*."""
        now = time.time()
        self._drop_expired(now)
        size = len(data) + ENTRY_BYTES
        if epoch != self._epoch or size > self.max_bytes:
            return
        key = question.make_key(self._salt)
        self._drop(key)
        self._entries[key] = _Entry(data, hash_scope(question.scope, self._salt), now, now + ttl_seconds)
        self._bytes += size
        heapq.heappush(self._expiries, (now + ttl_seconds, key))
        while self._bytes > self.max_bytes:
            self._drop(next(iter(self._entries)))

    async def flush(self) -> None:
        """Return at once: everything is stored."""

    async def forget(self, scope: str) -> int:
        """Forget the answers of *scope*, and return how many there were."""
        self._epoch += 1
        hashed = hash_scope(scope, self._salt)
        keys = [key for key, entry in self._entries.items() if entry.scope == hashed]
        for key in keys:
            self._drop(key)
        return len(keys)

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= len(entry.data) + ENTRY_BYTES
            if len(self._expiries) > 2 * len(self._entries) + 64:
                self._expiries = [(each.expires_at, name) for name, each in self._entries.items()]
                heapq.heapify(self._expiries)

    def _drop_expired(self, now: float) -> None:
        while self._expiries and self._expiries[0][0] <= now:
            expires_at, key = heapq.heappop(self._expiries)
            entry = self._entries.get(key)
            if entry is not None and entry.expires_at == expires_at:
                self._drop(key)
