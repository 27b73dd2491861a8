"""What would help after a refusal that is not about the request: another API, another version, another address. [pure]

Must not know wires' fields or HTTP.
"""

from fnmatch import fnmatchcase

from protocol.errors import ErrorBody
from sidecar.providers.addresses import find_variant_hint
from sidecar.providers.values import Target

_STATUSES = frozenset({400, 404, 405})
_ADDRESS = "Check `base_url`: nothing answers at this path. Many servers want `/v1` at its end, and some do not."


def suggest(target: Target, body: ErrorBody) -> str | None:
    """Return what would help after the refusal *body* of *target*; None if that is not known.

    It goes before what the error itself suggests.
    """
    if body.code == "auth_failed" and target.credential is None and target.row.auth.scheme == "bearer":
        # Nothing was sent that could be wrong.
        return f"The server wants a key: name its variable as `api_key_env` in [providers.{target.route.provider}]."
    if body.code not in ("model_not_found", "invalid_request") or body.provider_status not in _STATUSES:
        return None
    for pattern, hint in target.row.models.hints.items():
        if fnmatchcase(target.route.model, pattern):
            return hint
    if body.hint is not None:
        return None
    if variant_hint := find_variant_hint(target):
        return variant_hint
    return (
        _ADDRESS
        if body.provider_status == 404 and target.has_custom_address and not _names_model(target, body)
        else None
    )


def _names_model(target: Target, body: ErrorBody) -> bool:
    """Return whether the message is about a model, be it by the word or by the name."""
    message = body.message.lower()
    return "model" in message or (target.route.model != "" and target.route.model.lower() in message)
