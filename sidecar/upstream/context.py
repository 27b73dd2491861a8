"""What it takes to ask providers, for as long as the process lives.

Its HTTP client is an argument. It holds nothing of a single request.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import anyio.to_thread
import msgspec

from protocol.replies import Warn
from protocol.requests import ClientInfo
from sidecar.auth.logins.store import Store
from sidecar.auth.memory import Memory
from sidecar.config.environment import find_existing
from sidecar.config.values import Config
from sidecar.core.event_loop import TaskStarter
from sidecar.core.http import Transport
from sidecar.core.single_flight import SingleFlight
from sidecar.providers.setup import Found, Setup
from sidecar.tokens.counter import Counter
from sidecar.upstream.caches import (
    MAX_CONVERSATIONS,
    MAX_KNOWN_ANSWERS,
    MAX_MODEL_LISTS,
    MAX_REFUSED_METHODS,
    MAX_SETTINGS,
    MAX_TOKEN_COUNTS,
    AnswerStore,
    CachedModelList,
    CachedSettings,
    KnownAnswers,
    LruCache,
    ModelKey,
    ModelListKey,
    SettingsKey,
)
from sidecar.upstream.exchange import make_exchange
from sidecar.upstream.gates.lookup import GateTable
from sidecar.usage.ledger import Ledger

if TYPE_CHECKING:
    from sidecar.auth.scheme import Call
    from sidecar.providers.values import Target


class Upstream:
    """The HTTP client, the gates, the credentials and the caches of the process."""

    def __init__(self, config: Config, tasks: TaskStarter, http: Transport, warn: Callable[[Warn], None]) -> None:
        self.config: Final = config
        self.found = Found()
        """What was found since the process began. Replaced whenever something new is found."""
        self.tasks = tasks
        self.http = http
        self.gates = GateTable(config.limits)
        self.exchange = make_exchange(http, self.gates)
        """Asks servers that are no providers."""
        self.warn = warn
        """Sends the host a warning that belongs to no request."""
        self.single_flight = SingleFlight(tasks)
        self.counter = Counter(self.single_flight)
        self.memory = Memory(self.single_flight)
        """What schemes and logins keep."""
        self.store = Store(config.store_dir, uses_keychain=config.uses_keychain)
        self.ledger = Ledger(config.ledger_path, tasks, warn)
        self.client: ClientInfo | None = None
        """The host's own name and version."""
        self.model_lists = LruCache[ModelListKey, CachedModelList](MAX_MODEL_LISTS)
        self.discovered_settings = LruCache[SettingsKey, CachedSettings](MAX_SETTINGS)
        self.token_counts = LruCache[bytes, int](MAX_TOKEN_COUNTS)
        """Providers' counts, by a hash of the question."""
        self.known_answers = LruCache[ModelKey, KnownAnswers](MAX_KNOWN_ANSWERS)
        """What the ledger has seen of the models of routes."""
        self.conversations = LruCache[str, str](MAX_CONVERSATIONS)
        """The label of a conversation → the model of its route that has it."""
        self.refused_methods = LruCache[tuple[str, str, str], frozenset[str]](MAX_REFUSED_METHODS)
        """Provider, address and model → the ways to complete that were refused there."""
        self.answers: AnswerStore | None = None
        """Answers that may be used again. None: no chat has asked for that yet."""
        self.catalogue_warnings: list[Warn] | None = None
        """What is wrong with the stored catalogue. None: it is not loaded yet."""

    @property
    def setup(self) -> Setup:
        """What is set and what was found, for a request that begins now."""
        return Setup(self.config, self.found)

    def forget_provider(self, name: str) -> None:
        """Forget what the credentials of the provider *name* gave: tokens, lists of models, settings."""
        self.memory.forget_provider(name)
        self.model_lists.remove_where(lambda key: key.provider == name)
        self.discovered_settings.remove_where(lambda key: key.provider == name)

    async def flush(self) -> None:
        """Write what is on its way to the user's files."""
        await self.ledger.flush()
        if self.answers is not None:
            await self.answers.flush()

    async def load_credentials(self) -> None:
        """Load stored credentials and imported logins into `found`, unless they are up to date."""
        if self.store.is_check_due:
            await self.single_flight.run_once("store", self._load_credentials)
        if self.found.credentials is not self.store.secrets:
            self.found = msgspec.structs.replace(
                self.found,
                credentials=self.store.secrets,
                stored_settings=self.store.settings,
                locked=self.store.locked,
            )

    async def _load_credentials(self) -> None:
        # A host that only pings should not pay for these imports.
        from sidecar.auth.logins import imported
        from sidecar.catalogue import provider_rows

        await self.store.check()
        rows = provider_rows.read_providers()
        files = {name: row.auth.identity_files for name, row in rows.items() if row.auth.identity_files}
        identities = await anyio.to_thread.run_sync(find_existing, self.config.env, files)
        logins = await anyio.to_thread.run_sync(imported.find_accounts, self.setup)
        self.found = msgspec.structs.replace(self.found, identities=identities, logins=logins)


def make_call(up: Upstream, target: "Target") -> "Call":
    """Return what the target's scheme is given."""
    from sidecar.auth.scheme import Call  # It imports the catalogue, for which a host that only pings should not pay.

    return Call(
        target=target,
        exchange=up.exchange,
        memory=up.memory,
        client=up.client,
        store=up.store,
    )
