"""Providers' lists of models: fetched, cached for a while, and served stale when the provider fails.

Knows the cache and the pages. Must not know the format of a list (`catalogue/listings.py`) or an action.
"""

import time
from datetime import UTC, datetime
from typing import Any

import msgspec
from anyio.to_thread import run_sync as to_thread

from protocol.replies import ModelInfo, ModelList, Warn
from sidecar.catalogue import listings, overlay
from sidecar.catalogue import models as catalogue
from sidecar.catalogue.corrections import Overlay
from sidecar.catalogue.provider_rows import NO_CHAT
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest, HttpTimeouts
from sidecar.core.json_values import parse_json
from sidecar.core.request_state import RequestState
from sidecar.core.single_flight import SharedTask
from sidecar.providers.completion_methods import knows_completion
from sidecar.providers.model_names import find_similar
from sidecar.providers.values import Target
from sidecar.upstream import replay
from sidecar.upstream.caches import CachedModelList, ModelListKey
from sidecar.upstream.context import Upstream
from sidecar.upstream.documents import DocumentQuestion, ask_document
from sidecar.upstream.plan import Plan, make_plan
from sidecar.usage import pricing
from sidecar.wires import registry
from sidecar.wires.shared.errors import make_unexpected_body_error

FRESH_SECONDS = 300.0
"""How long a list is used before the provider is asked again."""

MAX_MODELS = 20_000
"""How many models of one provider are kept. The largest lists have a few thousand."""

MAX_PAGE_BYTES = 4 * 1024 * 1024
"""A larger page of a list would delay everything else while it is read. The largest has a quarter of that."""

NOT_CHAT = frozenset({"completion", "embedding", "rerank"})
"""The kinds of models that are no help to whoever has asked for a chat."""

SIDE_GATE = "lists"


async def list_models(up: Upstream, target: Target, state: RequestState | None, *, refresh: bool = False) -> ModelList:
    """Return the provider's models: cached, fresh, or stale with a warning.

    With the *state* of a request the provider is asked as often as the user allows; without one, on the way to
    something else, it is asked once. *refresh* asks even though the cached list is fresh.

    Raises: SidecarError when the provider fails and no list is cached.
    """
    cached = await _find_cached(up, target)
    if cached and not refresh and time.monotonic() - cached.asked_at < FRESH_SECONDS:
        return msgspec.structs.replace(cached.completed, source="cache")
    try:
        return (await _fetch_once(up, target, state)).completed
    except SidecarError as error:
        if cached is None:
            raise
        stale = Warn(code="stale_list", message=f"The provider's list could not be fetched: {error.body.message}")
        return msgspec.structs.replace(cached.completed, source="stale", warnings=[stale])


async def _fetch_once(up: Upstream, target: Target, state: RequestState | None) -> CachedModelList:
    """Return the provider's list. Requests that want it at the same time share one question."""
    if state is None:
        return await _fetch_and_cache(up, target, None)

    async def fetch(task: SharedTask[CachedModelList]) -> CachedModelList:
        shared = RequestState(state.action, state.provider)
        shared.progress.provider = target.route.provider
        task.report(shared.progress)
        return await _fetch_and_cache(up, target, shared)

    with up.single_flight.join(("models", _make_key(target)), fetch, keep_running=False) as task:
        while not task.updates and not task.done:
            await task.wait_for_update()
        state.progress = task.updates[0]
        return await task.wait()


async def _fetch_and_cache(up: Upstream, target: Target, state: RequestState | None) -> CachedModelList:
    own = await _fetch_list(up, target, state)
    return await _complete_and_cache(up, target, own, time.monotonic())


async def find_model(up: Upstream, target: Target) -> ModelInfo | None:
    """Return the entry of the target's model in the provider's list; None without an entry or a list."""
    try:
        listed = await list_models(up, target, None)
    except SidecarError:
        return None
    return next((each for each in listed.models if each.id == target.route.model), None)


def suggest_names(up: Upstream, target: Target) -> list[str]:
    """Return the names of chat models most similar to the target's, from the cached list or else the catalogue."""
    cached = up.model_lists.get(_make_key(target))
    if cached:
        names = [each.id for each in cached.completed.models if each.kind not in NOT_CHAT]
    else:
        names = overlay.list_names(up.setup.overlay, target.route.provider, "chat")
    return find_similar(target.route.model, names)


def _make_key(target: Target) -> ModelListKey:
    secret = target.credential.reveal() if target.credential else None
    access_hash = hash((secret, str(target.route.settings)))
    return ModelListKey(target.route.provider, target.list_base_url, access_hash)


async def _find_cached(up: Upstream, target: Target) -> CachedModelList | None:
    """Return the cached list, completed by today's catalogue."""
    cached = up.model_lists.get(_make_key(target))
    if cached and cached.refreshed is not up.found.refreshed:
        return await _complete_and_cache(up, target, cached.own, cached.asked_at)
    return cached


async def _complete_and_cache(up: Upstream, target: Target, own: ModelList, asked_at: float) -> CachedModelList:
    corrections = up.setup.overlay
    # Completing thousands of models takes a tenth of a second.
    completed = await to_thread(_complete_list, corrections, target, own, abandon_on_cancel=True)
    cached = CachedModelList(asked_at=asked_at, own=own, refreshed=corrections.refreshed, completed=completed)
    up.model_lists.put(_make_key(target), cached)
    return cached


def _complete_list(corrections: Overlay, target: Target, own: ModelList) -> ModelList:
    """Return the provider's *own* list, with the models that the user has added and with what the catalogue knows."""
    provider, listed = target.route.provider, {each.id for each in own.models}
    added = (name for name in overlay.list_added(corrections, provider) if name not in listed)
    infos = [*own.models, *(ModelInfo(id=name, provider=provider) for name in added)]
    return msgspec.structs.replace(own, models=[_complete_model(corrections, target, info) for info in infos])


def _complete_model(corrections: Overlay, target: Target, info: ModelInfo) -> ModelInfo:
    # The catalogue knows the model behind a deployment.
    base_model = (_read_deployments(target).get(info.id) or {}).get("base_model") or info.id
    completed = overlay.complete(msgspec.structs.replace(info, id=base_model), corrections)
    if (completed.pricing or {}).get("source") == catalogue.LOCAL and not pricing.is_free(target, info.id):
        completed = msgspec.structs.replace(completed, cost=None, pricing=None)
    kind = completed.kind or ("chat" if target.row.models.are_deployments else None)
    if kind in _COMPLETING and (completes := knows_completion(target.row, base_model)) is not None:
        capabilities = {"completion": completes} | (completed.capabilities or {})
        completed = msgspec.structs.replace(completed, capabilities=capabilities)
    return msgspec.structs.replace(completed, id=info.id, kind=kind)


_COMPLETING = (None, "chat", "completion")
"""The kinds of models that may complete text at a cursor."""


async def _fetch_list(up: Upstream, target: Target, state: RequestState | None) -> ModelList:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    if target.row.transport == "replay":
        played = await to_thread(replay.list_models, up.config, target.route.provider, target.row)
        return ModelList(models=played, source="built_in", fetched_at=now)
    if not target.row.models.lists:
        return _make_built_in_list(target, overlay.list_names(up.setup.overlay, target.route.provider), now)
    if target.row.models.are_deployments:
        return _make_built_in_list(target, list(_read_deployments(target)), now)
    models = []
    for listing in target.row.models.lists:
        models += await _read_pages(up, target, state, listing)
    return ModelList(models=models, source="provider", fetched_at=now)


def _make_built_in_list(target: Target, names: list[str], now: str) -> ModelList:
    models = [ModelInfo(id=name, provider=target.route.provider) for name in names]
    return ModelList(models=models, source="built_in", fetched_at=now)


def _read_deployments(target: Target) -> dict[str, Any]:
    return target.route.settings.get("deployments", {}) if target.row.models.are_deployments else {}


async def _read_pages(
    up: Upstream, target: Target, state: RequestState | None, listing: listings.Listing
) -> list[ModelInfo]:
    models: list[ModelInfo] = []
    path: str | None = listing.path
    for _ in range(listings.MAX_PAGES):
        if path is None:
            break
        document = await fetch_document(up, target, path, state)
        page, path = await to_thread(
            listings.parse_page, listing, document, target.route.provider, abandon_on_cancel=True
        )
        models += page
        if len(models) >= MAX_MODELS:
            return models[:MAX_MODELS]
    return models


async def fetch_document(
    up: Upstream, target: Target, path: str, state: RequestState | None = None, *, any_key: bool = True
) -> Any:
    """Return the JSON document at *path* of the provider's list address.

    For *state* see `list_models`. Without *any_key* only the target's own credential is used.

    Raises: SidecarError as `ask_document` does.
    """
    # Without a chat there is no wire: the errors of such providers have the shapes of this one's imitations.
    wire: Any = registry.load("openai_chat" if target.route.wire == NO_CHAT else target.route.wire)
    question = DocumentQuestion[Any](
        kind="list",
        encode=lambda to: HttpRequest(
            method="GET",
            url=to.list_base_url + path,
            headers=getattr(wire, "HEADERS", {}) | to.route.headers,
        ),
        decode=_decode_document,
        classify=wire.classify,
        timeouts=HttpTimeouts(),
        max_attempts=None if state else 1,
        side_gate=SIDE_GATE,
        limit_bytes=MAX_PAGE_BYTES,
    )
    plan = make_plan(target) if any_key else Plan(target=target, origin=target)
    return await ask_document(up, state or RequestState("list_models"), plan, question)


def _decode_document(body: bytes) -> Any:
    document = parse_json(body)
    if not isinstance(document, (dict, list)):
        raise make_unexpected_body_error()
    return document
