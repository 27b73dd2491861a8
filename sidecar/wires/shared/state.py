"""The state that a provider leaves in a part of a message, for that provider alone. [pure]"""

from typing import Any

from protocol.messages import State
from sidecar.core.json_values import open_state
from sidecar.wires.shared.types import Route


def make_state(route: Route, data: dict[str, Any], model: str | None = None) -> State:
    """Return *data* as the state of *model*, by default the model that *route* names."""
    return State(provider=route.provider, wire=route.wire, model=route.model if model is None else model, data=data)


def read_own_state(state: str | State | None, route: Route) -> Any:
    """Return the data of *state* when this provider made it on this wire, else None."""
    state = open_state(state)
    if state is None or state.provider != route.provider or state.wire != route.wire:
        return None
    return state.data


def read_own_fields(state: str | State | None, route: Route) -> dict[str, Any]:
    """Return the data of *state* when this provider made it on this wire and it is an object, else {}."""
    data = read_own_state(state, route)
    return data if isinstance(data, dict) else {}
