"""The actions that wait for a provider: each ends its entry itself, with `host.finish`.

Must not know wires' fields or schemes.
"""

from collections.abc import Sequence

from protocol.replies import Chunk, Done
from protocol.requests import Chat, ListModels
from sidecar import chat, model_lists, resolve
from sidecar.errors import invalid
from sidecar.host import Host
from sidecar.inflight import Entry


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
        self._host.finish(self._entry, chat.collect(done))


async def stream_chat(host: Host, entry: Entry, params: Chat) -> None:
    """Answer a conversation as a stream."""
    await chat.stream(host, entry, params, Streaming(host, entry))


async def generate(host: Host, entry: Entry, params: Chat) -> None:
    """Answer a conversation in one line."""
    await chat.stream(host, entry, params, Folding(host, entry))


async def list_models(host: Host, entry: Entry, params: ListModels) -> None:
    """List a provider's models: its own list, fresh or remembered, with what the catalogue adds."""
    provider = entry.envelope.provider
    if provider is None:
        raise invalid("`provider` is required.", "provider")
    target = resolve.provider_target(host.config, provider, params)
    entry.progress.provider = target.route.provider
    host.finish(entry, await model_lists.models(host, target, entry.progress, refresh=params.refresh))
