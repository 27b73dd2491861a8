"""The table of actions: each has a handler that takes the parameters of its name."""

from typing import get_type_hints

import pytest

from protocol.requests import PARAMS
from sidecar.server.actions import ACTIONS, ImmediateAction


@pytest.mark.parametrize("name", ACTIONS)
def test_a_handler_takes_the_parameters_of_its_action(name: str) -> None:
    action = ACTIONS[name]
    handler = action.handler if isinstance(action, ImmediateAction) else action.load_handler()
    assert get_type_hints(handler)["params"] is PARAMS[name]
    assert handler.__name__ == name
    assert handler.__module__.startswith("sidecar.server.handlers.")
