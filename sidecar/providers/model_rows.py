"""What is known of a request's model, or of the model behind the user's own name for it. [pure]"""

from collections.abc import Mapping
from typing import Any

from sidecar.catalogue import overlay
from sidecar.catalogue.models import ModelRow
from sidecar.providers.values import ResolvedProvider


def find_base_model(settings: Mapping[str, Any], model: str) -> str:
    """Return the name of the model behind *model*, which may be the name of a deployment."""
    deployment = settings.get("deployments", {}).get(model) or {}
    return deployment.get("base_model") or model


def find_model_row(resolved: ResolvedProvider, model: str) -> ModelRow | None:
    """Return what is known of *model*, or None."""
    if not model:
        return None
    provider = resolved.provider
    return overlay.find_row(provider.setup.overlay, provider.id, find_base_model(resolved.settings, model))
