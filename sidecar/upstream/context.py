"""What asking providers takes, for as long as the process lives.

Given its HTTP client as an argument. Nothing of a single request is kept here.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
import msgspec

from protocol.replies import Warn
from protocol.requests import ClientInfo
from sidecar.auth.logins.store import Store
from sidecar.auth.memory import Memory
from sidecar.config.environment import find_existing
from sidecar.config.values import Config
from sidecar.core.http import Transport
from sidecar.core.single_flight import SingleFlight
from sidecar.providers.setup import Found, Setup
from sidecar.upstream.exchange import make_exchange
from sidecar.upstream.gates.gate import Gate
from sidecar.usage.ledger import Ledger

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from sidecar.auth.scheme import Call
    from sidecar.providers.values import Target


class Upstream:
    """The HTTP client, the gates, the credentials, and what several requests share."""

    def __init__(self, config: Config, tasks: "TaskGroup", http: Transport, warn: Callable[[Warn], None]) -> None:
        self.config: Final = config
        self.found = Found()
        """What was found since the process began; replaced whenever there is something new."""
        self.tasks = tasks
        self.http = http
        self.exchange = make_exchange(http)
        """Asks the questions of schemes and logins."""
        self.warn = warn
        """Tells the host of something that concerns no request of its own."""
        self.single_flight = SingleFlight(tasks)
        self.memory = Memory(self.single_flight)
        """What schemes and logins remember."""
        self.store = Store(config.store_dir)
        self.ledger = Ledger(config.ledger_path, tasks, warn)
        self.client: ClientInfo | None = None
        """The host's own name and version."""
        self.gates: dict[tuple[str, str, int], Gate] = {}
        """(provider, base address, hash of the credential) → who may ask it now."""
        self.model_lists: dict[tuple[str, str, int], Any] = {}
        """(provider, base address, hash of the credential) → the list, of `sidecar.upstream.model_lists`."""
        self.discovered_settings: dict[Any, Any] = {}
        """By provider and credential: what `sidecar.upstream.settings_discovery` has found lately."""
        self.token_counts: dict[bytes, int] = {}
        """By a hash of the question: what providers have counted, of `sidecar.upstream.token_counts`."""
        self.catalogue_warnings: list[Warn] | None = None
        """What is wrong with the refreshed catalogue on disk; None: not read yet."""

    @property
    def setup(self) -> Setup:
        """What is set and what is found, as a request that begins now sees them."""
        return Setup(self.config, self.found)

    def forget_provider(self, name: str) -> None:
        """Forget what was made of the credentials of the provider *name*: tokens, lists of models, settings."""
        self.memory.forget_provider(name)
        for cache in (self.model_lists, self.discovered_settings):
            for key in [key for key in cache if key[0] == name]:
                del cache[key]

    async def look_into_store(self) -> None:
        """Have what is stored now in `found`, where a request's credential is looked for."""
        if self.store.due:
            await self.single_flight.run_once("store", self._look)
        if self.found.credentials is not self.store.secrets:
            self.found = msgspec.structs.replace(self.found, credentials=self.store.secrets)

    async def _look(self) -> None:
        # A host that only pings pays for neither.
        from sidecar.auth.logins import imported
        from sidecar.catalogue import provider_rows

        await self.store.look()
        rows = provider_rows.read_providers()
        files = {name: row.auth.identity_files for name, row in rows.items() if row.auth.identity_files}
        identities = await anyio.to_thread.run_sync(find_existing, self.config.env, files)
        logins = await anyio.to_thread.run_sync(imported.accounts, self.setup)
        self.found = msgspec.structs.replace(self.found, identities=identities, logins=logins)


def call_for(up: Upstream, target: "Target") -> "Call":
    """Return what the target's scheme may look at."""
    from sidecar.auth.scheme import Call  # The catalogue comes with it: a host that only pings does not pay for it.

    return Call(
        target=target,
        exchange=up.exchange,
        memory=up.memory,
        client=up.client,
        store=up.store,
    )
