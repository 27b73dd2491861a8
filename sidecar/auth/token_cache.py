"""Tokens that schemes have minted: kept until shortly before they expire, and minted once for all who need them.

Knows ages and lifetimes. Must not know what a token is: a scheme says how one is minted and how long it lives.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, NamedTuple, TypeVar

import anyio
import anyio.to_thread
import msgspec

from sidecar.core.errors import SidecarError
from sidecar.core.secret import Secret
from sidecar.core.single_flight import SingleFlight

T = TypeVar("T")

MIN_AGE_SECONDS = 60.0
"""A token is used for at least this long, and a refused one that is younger is not replaced: no storm of minting."""

MAX_TOKENS = 256
"""Tokens that are kept, of all providers: requests may bring credentials of their own."""


class Key(NamedTuple):
    """What tells a token from others. Holds no secret."""

    scheme: str
    provider: str
    credential: bytes = b""
    """The `fingerprint` of the credential it is minted from; empty for the machine's own."""
    source: Hashable = None
    """Where that credential is or what the token is for, when the scheme has several."""


def fingerprint(credential: Secret | None) -> bytes:
    """Return what tells *credential* from others without being it; empty for none."""
    import hashlib  # It loads OpenSSL, which a host that only pings does not need.

    return hashlib.sha256(credential.reveal().encode()).digest() if credential else b""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How the tokens of a scheme are minted and kept."""

    limit_seconds: float | None = None
    """How long minting one may take; None: the scheme sees to that."""
    early_seconds: float = 0.0
    """How long before it expires a token is replaced."""
    min_use_seconds: float = MIN_AGE_SECONDS
    """How long a token is used at least, however short its life."""


class Minted(msgspec.Struct, Generic[T], frozen=True):
    """A new token. Its `repr` shows nothing of it."""

    value: T
    life_seconds: float | None
    """How long it is valid from now on; None: it does not expire."""

    def __repr__(self) -> str:
        return "Minted(***)"


Mint = Callable[[], Awaitable[Minted[T]]]


class _Moment(NamedTuple):
    """A point in time on two clocks: one stands still while the machine sleeps, the other may be set."""

    monotonic: float
    wall: float

    @property
    def age_seconds(self) -> float:
        return max(time.monotonic() - self.monotonic, time.time() - self.wall)


class _Entry(NamedTuple):
    value: Any
    minted_at: _Moment
    use_seconds: float | None
    is_replacement: bool
    """Whether it took the place of a refused one."""

    @property
    def is_fresh(self) -> bool:
        return self.use_seconds is None or self.minted_at.age_seconds < self.use_seconds


class TokenCache:
    """The tokens, the one that was used longest ago first."""

    def __init__(self, single_flight: SingleFlight) -> None:
        self._single_flight = single_flight
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._minting: set[Key] = set()
        """Tokens that are being minted and are to be kept."""
        self._in_thread: set[Key] = set()
        """Tokens that a worker thread is busy with, even when nobody waits for it any more."""

    async def get(self, key: Key, mint: Mint[T], terms: Terms) -> T:
        """Return the token, minted by *mint* unless there is one that is valid for a while yet.

        Raises: SidecarError as *mint* does, and `timeout`.
        """
        entry = self._entries.get(key)
        if entry is None or not entry.is_fresh:
            return await self._mint(key, mint, terms, is_replacement=False)
        self._entries.move_to_end(key)
        value: T = entry.value
        return value

    async def replace(
        self, key: Key, mint: Mint[T], terms: Terms, is_refused: Callable[[T], bool] | None = None
    ) -> T | None:
        """Return a better token than the one that was refused; None when there is none.

        That is the one that another request has had minted meanwhile, or a new one. *is_refused* tells the refused
        token; without it, a token that has replaced another within the last minute is taken for a better one. A new
        token that is refused is not replaced, nor one that is no longer kept.

        Raises: SidecarError as *mint* does, and `timeout`.
        """
        entry = self._entries.get(key)
        if entry is None:
            return None
        is_new = entry.minted_at.age_seconds < MIN_AGE_SECONDS
        is_better = is_new and entry.is_replacement if is_refused is None else not is_refused(entry.value)
        if is_better and entry.is_fresh:
            value: T = entry.value
            return value
        if is_new and not is_better:
            return None
        return await self._mint(key, mint, terms, is_replacement=True)

    def peek(self, key: Key) -> Any | None:
        """Return the last token, whether or not it has expired."""
        entry = self._entries.get(key)
        return entry.value if entry else None

    def forget(self, key: Key) -> bool:
        """Forget the token, and return whether there was one."""
        self._minting.discard(key)
        return self._entries.pop(key, None) is not None

    def forget_provider(self, provider: str) -> None:
        """Forget every token of *provider*, and do not keep those that are being minted now."""
        for key in [key for key in (*self._entries, *self._minting) if key.provider == provider]:
            self.forget(key)

    async def run_in_thread(self, key: Key, work: Callable[[], T]) -> T:
        """Return the result of *work*, run in a worker thread: one at a time for a token.

        Raises: TimeoutError while an earlier one hangs, which was given up; what *work* does.
        """
        if key in self._in_thread:
            raise TimeoutError

        def run() -> T:
            self._in_thread.add(key)
            try:
                return work()
            finally:
                self._in_thread.discard(key)

        return await anyio.to_thread.run_sync(run, abandon_on_cancel=True)

    async def _mint(self, key: Key, mint: Mint[T], terms: Terms, *, is_replacement: bool) -> T:
        async def run() -> T:
            self._minting.add(key)
            try:
                with anyio.fail_after(terms.limit_seconds):
                    minted = await mint()
            except TimeoutError:
                self._minting.discard(key)
                raise SidecarError("timeout", "No access token came in time.", phase="headers") from None
            except BaseException:
                self._minting.discard(key)
                raise
            self._keep(key, minted, terms, is_replacement=is_replacement)
            return minted.value

        return await self._single_flight.run_once(key, run)

    def _keep(self, key: Key, minted: Minted[Any], terms: Terms, *, is_replacement: bool) -> None:
        if key not in self._minting:
            # The provider was logged out of meanwhile.
            return
        self._minting.discard(key)
        life = minted.life_seconds
        use = None if life is None else max(terms.min_use_seconds, life - terms.early_seconds)
        now = _Moment(time.monotonic(), time.time())
        self._entries[key] = _Entry(minted.value, now, use, is_replacement)
        self._entries.move_to_end(key)
        if len(self._entries) > MAX_TOKENS:
            self._entries.popitem(last=False)
