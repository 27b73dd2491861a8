"""Providers' lists of models: asked, remembered for a while, served stale when the provider fails.

Knows the cache and the pages. Must not know a list's shape (`listings`) or an action.
"""

import difflib
import time
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from anyio.to_thread import run_sync as to_thread

from protocol.replies import ModelInfo, ModelList, Warn
from sidecar.catalogue import listings, overlay
from sidecar.catalogue import models as catalogue
from sidecar.catalogue.corrections import Overlay, Refreshed
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest, HttpTimeouts
from sidecar.core.json_values import parse_json
from sidecar.core.request_state import RequestState
from sidecar.providers.values import Target
from sidecar.upstream import replay
from sidecar.upstream.context import Upstream
from sidecar.upstream.documents import DocumentQuestion, ask_document
from sidecar.upstream.plan import Plan, make_plan
from sidecar.usage import pricing
from sidecar.wires import registry
from sidecar.wires.shared.errors import make_unexpected_body_error

FRESH_SECONDS = 300.0
"""How long a list is good."""

SUGGESTIONS = 3


class Remembered(NamedTuple):
    """A list."""

    at: float
    """When the provider was asked, on the monotonic clock."""
    said: ModelList
    """By the provider alone."""
    refreshed: Refreshed
    """The refreshed catalogue by which it was completed."""
    completed: ModelList


def _key(target: Target) -> tuple[str, str, int]:
    secret = target.credential.reveal() if target.credential else None
    return target.route.provider, target.list_base_url, hash((secret, str(target.route.settings)))


async def models(up: Upstream, target: Target, state: RequestState | None, *, refresh: bool = False) -> ModelList:
    """Return the provider's models: remembered, fresh, or stale with a warning.

    Raises: SidecarError when the provider fails and no list is remembered.
    """
    key = _key(target)
    known = await _remembered(up, target)
    if known and not refresh and time.monotonic() - known.at < FRESH_SECONDS:
        return msgspec.structs.replace(known.completed, source="cache")
    try:
        fresh = await _ask(up, target, state)
    except SidecarError as error:
        if known is None:
            raise
        stale = Warn(code="stale_list", message=f"The provider's list could not be had: {error.body.message}")
        return msgspec.structs.replace(known.completed, source="stale", warnings=[stale])
    remembered = Remembered(time.monotonic(), fresh, *await _with_overlay(up, target, fresh))
    up.model_lists[key] = remembered
    return remembered.completed


async def _remembered(up: Upstream, target: Target) -> Remembered | None:
    """Return the list that is remembered, completed by what is known now."""
    key = _key(target)
    known = up.model_lists.get(key)
    if known and known.refreshed is not up.found.refreshed:
        refreshed, completed = await _with_overlay(up, target, known.said)
        known = up.model_lists[key] = known._replace(refreshed=refreshed, completed=completed)
    return known


async def find(up: Upstream, target: Target) -> ModelInfo | None:
    """Return what the provider's list says of the target's model, or None, also when there is no list to be had."""
    try:
        listed = await models(up, target, None)
    except SidecarError:
        return None
    return next((each for each in listed.models if each.id == target.route.model), None)


def nearest(up: Upstream, target: Target) -> list[str]:
    """Return the names nearest to the target's model, from the remembered list or else the catalogue."""
    known = up.model_lists.get(_key(target))
    provider = target.route.provider
    names = [each.id for each in known.completed.models] if known else overlay.list_names(up.setup.overlay, provider)
    return difflib.get_close_matches(target.route.model, names, SUGGESTIONS, 0.5)


async def _ask(up: Upstream, target: Target, state: RequestState | None) -> ModelList:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    provider = target.route.provider
    if target.row.transport == "replay":
        names = replay.models(up.config)
        found = [ModelInfo(id=name, provider=provider, kind="chat") for name in names]
        return ModelList(models=found, source="built_in", fetched_at=now)
    if target.row.models.are_deployments:
        found = [ModelInfo(id=name, provider=provider, kind="chat") for name in _deployments(target)]
        return ModelList(models=found, source="built_in", fetched_at=now)
    found = []
    for listing in target.row.models.lists:
        found += await _read_pages(up, target, state, listing)
    return ModelList(models=found, source="provider", fetched_at=now)


def _deployments(target: Target) -> dict[str, Any]:
    return target.route.settings.get("deployments", {}) if target.row.models.are_deployments else {}


async def _with_overlay(up: Upstream, target: Target, said: ModelList) -> tuple[Refreshed, ModelList]:
    """Return what is known beside the list now, and the list completed by it: of thousands a tenth of a second."""
    known = up.setup.overlay
    return known.refreshed, await to_thread(_completed, known, target, said, abandon_on_cancel=True)


def _completed(known: Overlay, target: Target, said: ModelList) -> ModelList:
    """Return what the provider has *said* with what is known beside it, and the models that the user has added."""
    provider, listed = target.route.provider, {each.id for each in said.models}
    own = (name for name in overlay.list_added(known, provider) if name not in listed)
    infos = [*said.models, *(ModelInfo(id=name, provider=provider, kind="chat") for name in own)]
    return msgspec.structs.replace(said, models=[_complete(known, target, info) for info in infos])


def _complete(beside: Overlay, target: Target, info: ModelInfo) -> ModelInfo:
    # Of a deployment, what is known of the model behind it.
    base_model = (_deployments(target).get(info.id) or {}).get("base_model") or info.id
    known = overlay.complete(msgspec.structs.replace(info, id=base_model), beside)
    if (known.pricing or {}).get("source") == catalogue.LOCAL and not pricing.is_free(target, info.id):
        known = msgspec.structs.replace(known, cost=None, pricing=None)
    return msgspec.structs.replace(known, id=info.id)


async def _read_pages(
    up: Upstream, target: Target, state: RequestState | None, listing: listings.Listing
) -> list[ModelInfo]:
    found: list[ModelInfo] = []
    path: str | None = listing.path
    for _ in range(listings.MAX_PAGES):
        if path is None:
            break
        document = await get_document(up, target, path, state)
        page, path = await to_thread(
            listings.parse_page, listing, document, target.route.provider, abandon_on_cancel=True
        )
        found += page
    return found


async def get_document(
    up: Upstream, target: Target, path: str, state: RequestState | None = None, *, any_key: bool = True
) -> Any:
    """Return the JSON document at *path* of the provider's list address.

    With the *state* of a request it is asked for as often as the user allows; without one, on the way of something
    else, once.

    Raises: SidecarError as `ask_document` does.
    """
    wire: Any = registry.load(target.route.wire)
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
        side_gate="lists",
    )
    plan = make_plan(target) if any_key else Plan(target=target, origin=target)
    return await ask_document(up, state or RequestState("list_models"), plan, question)


def _decode_document(body: bytes) -> Any:
    document = parse_json(body)
    if not isinstance(document, (dict, list)):
        raise make_unexpected_body_error()
    return document
