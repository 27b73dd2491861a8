"""The actions that wait, for a provider or for the store: each ends its entry itself, with `host.finish`.

Must not know wires' fields or schemes.
"""

from collections.abc import Sequence
from contextlib import suppress

import msgspec

from protocol.replies import Chunk, Done
from protocol.requests import (
    Authenticate,
    CalculateCost,
    Chat,
    CountTokens,
    ListModels,
    Nothing,
    ResumeChat,
    UsageReport,
)
from sidecar.core.errors import SidecarError, invalid
from sidecar.generation import run
from sidecar.generation.resume import again, joined
from sidecar.providers import resolve
from sidecar.server.app import Host
from sidecar.server.open_requests import Entry
from sidecar.upstream import catalogue_refresh, model_lists, settings_discovery
from sidecar.usage.report import report


class Streaming:
    """The sink of `stream_chat`: the request's own lane."""

    def __init__(self, host: Host, entry: Entry) -> None:
        self._host = host
        self._entry = entry
        self.send = entry.lane.send
        self.room = entry.lane.room

    @property
    def full(self) -> bool:
        """Whether the host reads more slowly than the provider writes."""
        return self._entry.lane.full

    def end(self, done: Done) -> None:
        """Write the terminal line."""
        self._host.finish(self._entry, done)


class Folding:
    """The sink of `generate`: `done.message` has all that it would keep."""

    full = False

    def __init__(self, host: Host, entry: Entry) -> None:
        self._host = host
        self._entry = entry

    def send(self, chunks: Sequence[Chunk]) -> None:
        """Keep nothing."""

    async def room(self) -> None:
        """Return at once."""

    def end(self, done: Done) -> None:
        """Write the one line."""
        self._host.finish(self._entry, run.collect(done))


async def stream_chat(host: Host, entry: Entry, params: Chat) -> None:
    """Answer a conversation as a stream."""
    await host.look_into_store()
    await catalogue_refresh.look(host)
    await run.stream(host, entry, params, Streaming(host, entry))


class Resuming(Streaming):
    """The sink of `resume`: the message at its end is the whole one."""

    def __init__(self, host: Host, entry: Entry, params: ResumeChat) -> None:
        super().__init__(host, entry)
        self._params = params

    def end(self, done: Done) -> None:
        """Write the terminal line."""
        super().end(msgspec.structs.replace(done, message=joined(self._params, done.message)))


async def resume(host: Host, entry: Entry, params: ResumeChat) -> None:
    """Go on with an answer that broke off, as a stream."""
    await host.look_into_store()
    await catalogue_refresh.look(host)
    await run.stream(host, entry, again(params), Resuming(host, entry, params))


async def generate(host: Host, entry: Entry, params: Chat) -> None:
    """Answer a conversation in one line."""
    await host.look_into_store()
    await catalogue_refresh.look(host)
    await run.stream(host, entry, params, Folding(host, entry))


async def list_models(host: Host, entry: Entry, params: ListModels) -> None:
    """List a provider's models: its own list, fresh or remembered, with what the catalogue adds."""
    provider = entry.envelope.provider
    if provider is None:
        raise invalid("`provider` is required.", "provider")
    await host.look_into_store()
    await catalogue_refresh.look(host)
    target = resolve.provider_target(await settings_discovery.informed(host, provider, params), provider, params)
    entry.progress.provider = target.route.provider
    warnings = await catalogue_refresh.renewed(host) if params.refresh_catalogue else []
    listed = await model_lists.models(host, target, entry.progress, refresh=params.refresh)
    host.finish(entry, catalogue_refresh.told(host, listed, warnings))


async def list_providers(host: Host, entry: Entry, params: Nothing) -> None:  # noqa: ARG001 - the shape of an action
    """Name the providers and say where the credential of each would come from, never what it is."""
    from sidecar.server import authentication

    await host.look_into_store()
    rows = resolve.known_providers(host.config)
    listed = [authentication.info(host, name, row) | _gates(host, name) for name, row in sorted(rows.items())]
    host.finish(entry, {"providers": listed})


def _gates(host: Host, provider: str) -> dict[str, object]:
    """Return `gates`: the state of each credential's gate that does not let everything through."""
    states = [gate.state for (name, *_), gate in host.gates.items() if name == provider]
    held_up = [state for state in states if state.state != "closed"]
    return {"gates": held_up} if held_up else {}


async def count_tokens(host: Host, entry: Entry, params: CountTokens) -> None:
    """Say how many tokens a prompt or a text is."""
    from sidecar.server import counting

    await catalogue_refresh.look(host)
    host.finish(entry, await counting.count(host, entry, params))


async def calculate_cost(host: Host, entry: Entry, params: CalculateCost) -> None:
    """Say what a usage costs."""
    from sidecar.usage import pricing

    await catalogue_refresh.look(host)
    config, provider = host.config, entry.envelope.provider
    asked = Chat(model=params.model, messages=[], settings=params.settings)
    with suppress(SidecarError):
        # A price needs no credential, so one that is no good is no matter; what else is wrong is said below.
        config = await settings_discovery.placed(host, *resolve.with_preset(config, provider, asked))
    host.finish(entry, pricing.calculate(config, provider, params))


async def authenticate(host: Host, entry: Entry, params: Authenticate) -> None:
    """Log in to a provider, say how it is authorized, try that, or log out."""
    from sidecar.server import authentication

    provider = entry.envelope.provider
    if provider is None:
        raise invalid("`provider` is required.", "provider")
    await host.look_into_store()
    name, _ = resolve.split_model(host.config, provider, "*")
    entry.progress.provider = name
    await authentication.OPERATIONS[params.op](host, entry, name, params)


async def usage_report(host: Host, entry: Entry, params: UsageReport) -> None:
    """Say what was asked and what it cost, from the ledger."""
    host.finish(entry, await report(host.ledger, params))
