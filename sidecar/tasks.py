"""The actions that wait for a provider: each ends its entry itself, with `host.finish`.

Must not know wires' fields or schemes.
"""

import time
from datetime import UTC, datetime
from typing import Any

import msgspec

from protocol.replies import ModelInfo, ModelList, Warn
from protocol.requests import Chat, ListModels
from sidecar import auth, chat, listings, replay, resolve, transport, wires
from sidecar.catalogue import models as catalogue_models
from sidecar.errors import SidecarError, invalid
from sidecar.host import Host
from sidecar.inflight import Entry
from sidecar.resolve import Target
from sidecar.transport import Limits
from sidecar.wires import faults
from sidecar.wires.types import HttpRequest

MODEL_LIST_SECONDS = 300.0
"""How long a provider's list of models is good."""


async def stream_chat(host: Host, entry: Entry, params: Chat) -> None:
    """Answer a conversation as a stream."""
    async with chat.stream(host.config, host.http, entry, params, entry.lane) as answer:
        host.finish(entry, answer.done)
        await answer.settle()


async def generate(host: Host, entry: Entry, params: Chat) -> None:
    """Answer a conversation in one line."""
    async with chat.stream(host.config, host.http, entry, params, chat.Fold()) as answer:
        host.finish(entry, chat.collect(answer.done))
        await answer.settle()


async def list_models(host: Host, entry: Entry, params: ListModels) -> None:
    """List a provider's models: its own list, fresh or remembered, with what the catalogue adds."""
    provider = entry.envelope.provider
    if provider is None:
        raise invalid("`provider` is required.", "provider")
    target = resolve.provider_target(host.config, provider, params)
    entry.progress.provider = target.route.provider
    key = (target.route.provider, target.route.base_url, hash(target.credential and target.credential.reveal()))
    at, known = host.model_lists.get(key, (0.0, None))
    if known and not params.refresh and time.monotonic() - at < MODEL_LIST_SECONDS:
        host.finish(entry, msgspec.structs.replace(known, source="cache"))
        return
    try:
        fresh = await _ask_for_models(host, entry, target)
    except SidecarError as error:
        if known is None or not error.body.retryable:
            raise
        stale = Warn(code="stale_list", message=f"The provider's list could not be had: {error.body.message}")
        host.finish(entry, msgspec.structs.replace(known, source="stale", warnings=[stale]))
        return
    host.model_lists[key] = (time.monotonic(), fresh)
    host.finish(entry, fresh)


async def _ask_for_models(host: Host, entry: Entry, target: Target) -> ModelList:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    if target.row.transport == "replay":
        names = replay.models(host.config)
        return ModelList(
            models=[ModelInfo(id=name, provider=target.route.provider, kind="chat") for name in names],
            source="built_in",
            fetched_at=now,
        )
    listing = listings.LISTINGS[target.row.listing]
    found: list[ModelInfo] = []
    path: str | None = listing.path
    for _ in range(listings.MAX_PAGES):
        if path is None:
            break
        page, path = listing.parse(await _get(host, entry, target, path), target.route.provider)
        found += page
    return ModelList(models=[catalogue_models.complete(each) for each in found], source="provider", fetched_at=now)


async def _get(host: Host, entry: Entry, target: Target, path: str) -> Any:
    """Return the JSON document at *path* of the target."""
    wire = wires.load(target.route.wire)
    request = HttpRequest(
        method="GET",
        url=target.route.base_url + path,
        headers=getattr(wire, "HEADERS", {}) | target.route.headers,
    )
    async with host.http.send(request, await auth.headers(target, request), Limits(), entry.progress) as response:
        if response.status >= 300:
            raise wire.classify(response.status, response.headers, await transport.read_error_body(response))
        document = faults.document(await transport.read_body(response))
        if document is None:
            raise faults.unexpected_body()
        await transport.drain(response)
        return document
