"""Provider state: who may read what a provider left in a part of a message. [pure]"""

from typing import Any

from protocol.messages import State
from sidecar.wires.shared.types import Route


def read_own_state(state: State | None, route: Route) -> Any:
    """Return the data of *state* when this provider minted it on this wire, else None."""
    if state is None or state.provider != route.provider or state.wire != route.wire:
        return None
    return state.data
