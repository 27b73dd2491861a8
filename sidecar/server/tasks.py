"""The actions that wait, for a provider or for the store: each ends its entry itself, with `host.finish`.

Must not know wires' fields or schemes.
"""

from collections.abc import Sequence
from contextlib import suppress

import msgspec

from protocol.replies import Chunk, Done, Status
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
from sidecar.server.app import App
from sidecar.server.open_requests import OpenRequest
from sidecar.upstream import catalogue_refresh, model_lists, settings_discovery
from sidecar.usage.report import report


class Streaming:
    """The sink of `stream_chat`: the request's own lane."""

    def __init__(self, app: App, entry: OpenRequest) -> None:
        self._app = app
        self._entry = entry
        self.send = entry.lane.send
        self.wait_for_room = entry.lane.wait_for_room

    @property
    def full(self) -> bool:
        """Whether the host reads more slowly than the provider writes."""
        return self._entry.lane.full

    def tell(self, status: Status) -> None:
        """Write *status* for a host that asked for such chunks."""
        if "status" in self._app.session.events:
            self.send([status])

    def end(self, done: Done) -> None:
        """Write the terminal line."""
        self._app.finish(self._entry, done)


class Folding:
    """The sink of `generate`: `done.message` has all that it would keep."""

    full = False

    def __init__(self, app: App, entry: OpenRequest) -> None:
        self._app = app
        self._entry = entry

    def send(self, chunks: Sequence[Chunk]) -> None:
        """Keep nothing."""

    def tell(self, status: Status) -> None:
        """Say nothing: the answer is one line."""

    async def wait_for_room(self) -> None:
        """Return at once."""

    def end(self, done: Done) -> None:
        """Write the one line."""
        self._app.finish(self._entry, run.collect(done))


async def stream_chat(app: App, entry: OpenRequest, params: Chat) -> None:
    """Answer a conversation as a stream."""
    await app.upstream.look_into_store()
    await catalogue_refresh.look(app.upstream)
    await run.stream(app.upstream, entry.state, params, Streaming(app, entry))


class Resuming(Streaming):
    """The sink of `resume`: the message at its end is the whole one."""

    def __init__(self, app: App, entry: OpenRequest, params: ResumeChat) -> None:
        super().__init__(app, entry)
        self._params = params

    def end(self, done: Done) -> None:
        """Write the terminal line."""
        super().end(msgspec.structs.replace(done, message=joined(self._params, done.message)))


async def resume(app: App, entry: OpenRequest, params: ResumeChat) -> None:
    """Go on with an answer that broke off, as a stream."""
    await app.upstream.look_into_store()
    await catalogue_refresh.look(app.upstream)
    await run.stream(app.upstream, entry.state, again(params), Resuming(app, entry, params))


async def generate(app: App, entry: OpenRequest, params: Chat) -> None:
    """Answer a conversation in one line."""
    await app.upstream.look_into_store()
    await catalogue_refresh.look(app.upstream)
    await run.stream(app.upstream, entry.state, params, Folding(app, entry))


async def list_models(app: App, entry: OpenRequest, params: ListModels) -> None:
    """List a provider's models: its own list, fresh or remembered, with what the catalogue adds."""
    provider = entry.envelope.provider
    if provider is None:
        raise invalid("`provider` is required.", "provider")
    await app.upstream.look_into_store()
    await catalogue_refresh.look(app.upstream)
    target = resolve.provider_target(
        await settings_discovery.informed(app.upstream, provider, params), provider, params
    )
    entry.state.progress.provider = target.route.provider
    warnings = await catalogue_refresh.renewed(app.upstream) if params.refresh_catalogue else []
    listed = await model_lists.models(app.upstream, target, entry.state, refresh=params.refresh)
    app.finish(entry, catalogue_refresh.told(app.upstream, listed, warnings))


async def list_providers(app: App, entry: OpenRequest, params: Nothing) -> None:  # noqa: ARG001 - the shape of an action
    """Name the providers and say where the credential of each would come from, never what it is."""
    from sidecar.server import authentication

    await app.upstream.look_into_store()
    rows = resolve.known_providers(app.upstream.setup)
    listed = [authentication.info(app, name, row) | _gates(app, name) for name, row in sorted(rows.items())]
    app.finish(entry, {"providers": listed})


def _gates(app: App, provider: str) -> dict[str, object]:
    """Return `gates`: the state of each credential's gate that does not let everything through."""
    states = [gate.state for (name, *_), gate in app.upstream.gates.items() if name == provider]
    held_up = [state for state in states if state.state != "closed"]
    return {"gates": held_up} if held_up else {}


async def count_tokens(app: App, entry: OpenRequest, params: CountTokens) -> None:
    """Say how many tokens a prompt or a text is."""
    from sidecar.server import counting

    await catalogue_refresh.look(app.upstream)
    app.finish(entry, await counting.count(app, entry, params))


async def calculate_cost(app: App, entry: OpenRequest, params: CalculateCost) -> None:
    """Say what a usage costs."""
    from sidecar.usage import pricing

    await catalogue_refresh.look(app.upstream)
    setup, provider = app.upstream.setup, entry.envelope.provider
    asked = Chat(model=params.model, messages=[], settings=params.settings)
    with suppress(SidecarError):
        # A price needs no credential, so one that is no good is no matter; what else is wrong is said below.
        setup = await settings_discovery.placed(app.upstream, *resolve.with_preset(setup.config, provider, asked))
    app.finish(entry, pricing.calculate(setup, provider, params))


async def authenticate(app: App, entry: OpenRequest, params: Authenticate) -> None:
    """Log in to a provider, say how it is authorized, try that, or log out."""
    from sidecar.server import authentication

    provider = entry.envelope.provider
    if provider is None:
        raise invalid("`provider` is required.", "provider")
    await app.upstream.look_into_store()
    name, _ = resolve.split_model(app.upstream.config, provider, "*")
    entry.state.progress.provider = name
    await authentication.OPERATIONS[params.op](app, entry, name, params)


async def usage_report(app: App, entry: OpenRequest, params: UsageReport) -> None:
    """Say what was asked and what it cost, from the ledger."""
    app.finish(entry, await report(app.upstream.ledger, params))
