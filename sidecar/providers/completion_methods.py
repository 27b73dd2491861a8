"""Which way a model is asked to complete: by data alone. [pure]

A provider's row says which wire of completions it has, for which models, and in which order the ways are tried; a
model's family says whether there is a template. Must not know HTTP.
"""

import re
from fnmatch import fnmatchcase

from protocol.completion import Method
from protocol.errors import ErrorBody
from sidecar.catalogue.provider_rows import NO_CHAT, ProviderRow
from sidecar.core.errors import SidecarError, invalid_request
from sidecar.wires.completions.families import find_family

METHOD = "params.options.method"


def list_methods(row: ProviderRow, model: str, refused: frozenset[str]) -> list[Method]:
    """Return the ways in which *model* can be asked, the best first, without those that it has *refused*."""
    return [each for each in row.completion.methods if each not in refused and _has(row, model, each)]


def _has(row: ProviderRow, model: str, method: Method) -> bool:
    columns = row.completion
    if method == "chat":
        return row.wire != NO_CHAT
    if not columns.wire:
        return False
    if method == "template":
        return find_family(model) is not None
    return any(fnmatchcase(model.lower(), pattern) for pattern in columns.models)


def choose_methods(row: ProviderRow, model: str, wanted: str, refused: frozenset[str]) -> list[Method]:
    """Return the ways to try in turn, at least one; *wanted* is `params.options.method`.

    Raises: SidecarError `invalid_request` if there is none.
    """
    found = list_methods(row, model, frozenset() if wanted != "auto" else refused)
    if wanted != "auto":
        found = [each for each in found if each == wanted]
    if found:
        return found
    if wanted != "auto" and (others := list_methods(row, model, refused)):
        text = f"`{METHOD}`: this model cannot be asked so; it can be asked by {' or '.join(others)}."
        raise invalid_request(text, METHOD)
    raise SidecarError(
        "invalid_request",
        "The provider has no way to complete text with this model.",
        param="params.model",
        reason="no_completion",
        hint="`list_models` says which models have `capabilities.completion`.",
    )


def knows_completion(row: ProviderRow, model: str) -> bool | None:
    """Return whether *model* completes by other means than a chat; None: that is not known, or no model does."""
    if not row.completion.wire:
        return None
    methods = list_methods(row, model, frozenset())
    if "template" in methods:
        return True
    if "fim" in methods:
        # A server of unknown make may refuse it.
        return None if "template" in row.completion.methods else True
    return False


_REFUSALS = re.compile(
    r"suffix|does not support (?:insert|generate|completion)|infill|not supported by this model"
    r"|not a (?:text )?completion model|v1/completions|not support(?:ed)? .*\bfim\b|\bfim\b.* not support",
    re.IGNORECASE,
)

_REFUSING_STATUSES = frozenset({400, 404, 405, 422, 500, 501})


def is_refusal(body: ErrorBody) -> bool:
    """Return whether a provider says that it cannot be asked in this way, so that the next way may help."""
    if body.provider_status in (404, 405, 501):
        return True
    return body.provider_status in _REFUSING_STATUSES and _REFUSALS.search(body.message) is not None
