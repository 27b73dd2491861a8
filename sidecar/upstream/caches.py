"""Answers of providers that later requests use again. Each cache has a bound."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from protocol.replies import ModelList
from sidecar.catalogue.corrections import Refreshed
from sidecar.usage.ledger_row import PastAnswer

MAX_MODEL_LISTS = 100
MAX_SETTINGS = 100
MAX_TOKEN_COUNTS = 256
MAX_KNOWN_ANSWERS = 256
MAX_CONVERSATIONS = 1024
MAX_REFUSED_METHODS = 256

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """At most *max_entries* values. The least recently used one is dropped first."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._values: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[K]:
        return iter(self._values)

    def get(self, key: K) -> V | None:
        """Return the value of *key*, which counts as a use, or None."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        """Set the value of *key*."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._max_entries:
            self._values.popitem(last=False)

    def remove_where(self, matches: Callable[[K], bool]) -> None:
        """Remove the values whose keys match."""
        for key in [key for key in self._values if matches(key)]:
            del self._values[key]


class ModelListKey(NamedTuple):
    """What a list of models depends on."""

    provider: str
    list_base_url: str
    access_hash: int
    """Of the credential and the settings."""


class CachedModelList(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's list of models."""

    asked_at: float
    """When the provider was asked, on the monotonic clock."""
    own: ModelList
    """The list as the provider gave it."""
    refreshed: Refreshed
    """The refreshed catalogue that `completed` is based on."""
    completed: ModelList
    """The list with what the catalogue and the user add."""


class SettingsKey(NamedTuple):
    """What discovered settings depend on. Holds no secret."""

    provider: str
    question_digest: bytes
    """Of the names asked for, the settings that are set, and the credential."""


class CachedSettings(msgspec.Struct, frozen=True):
    """Settings that the machine's credentials know."""

    settings: dict[str, str]
    expires_at: float
    """On the event loop's clock."""


class FoundAnswer(NamedTuple):
    """What a store has for a question."""

    data: bytes | None
    """The answer as it was stored; None: there is none."""
    age_seconds: float
    epoch: int | None
    """To be given back when an answer is stored. None: the store cannot be used now."""


class AnswerStore(Protocol):
    """Keeps answers that may be used again; see `sidecar.reuse.store`."""

    max_bytes: int

    async def find(self, question: Any) -> FoundAnswer:
        """Return the answer to *question*, a `sidecar.reuse.question.Question`, if there is one."""

    def keep(self, question: Any, data: bytes, ttl_seconds: float, epoch: int) -> None:
        """Store *data* for *ttl_seconds*, unless answers were forgotten since *epoch*. It is found at once."""

    async def flush(self) -> None:
        """Wait until everything is stored."""

    async def forget(self, scope: str) -> int:
        """Forget the answers of *scope*, and return how many there were."""


class ModelKey(NamedTuple):
    """A model of one provider, as the ledger names it."""

    provider: str
    model: str


class KnownAnswers(NamedTuple):
    """A model's last answers, as the ledger has them."""

    read_at: float
    """On the event loop's clock."""
    answers: list[PastAnswer]
