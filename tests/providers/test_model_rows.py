"""What is known of a request's model, under the user's own name for it too."""

from sidecar.catalogue import overlay
from sidecar.config.values import Config
from sidecar.providers.model_rows import find_base_model, find_model_row
from sidecar.providers.resolve import resolve_provider
from sidecar.providers.setup import Setup
from sidecar.providers.values import TargetSpec

DEPLOYMENTS = {"deployments": {"ours": {"base_model": "gpt-4o"}, "bare": {}}}
CORRECTIONS = {"azure": {"gpt-4o": overlay.make_correction({"max_output": 7})}}


def test_a_deployment_stands_for_its_base_model() -> None:
    assert find_base_model(DEPLOYMENTS, "ours") == "gpt-4o"
    assert find_base_model(DEPLOYMENTS, "bare") == "bare"
    assert find_base_model({}, "gpt-4o") == "gpt-4o"


def test_a_row_has_what_the_user_says_of_the_base_model() -> None:
    setup = Setup(Config(path="", providers={"azure": DEPLOYMENTS}, corrections=CORRECTIONS))
    resolved = resolve_provider(setup, TargetSpec(provider="azure", model="ours"))
    row = find_model_row(resolved, resolved.model)
    assert row
    assert (row.name, row.max_output) == ("GPT-4o", 7)


def test_nothing_is_known_of_no_model() -> None:
    resolved = resolve_provider(Setup(Config(path="")), TargetSpec(provider="openai"))
    assert resolved.model == ""
    assert find_model_row(resolved, resolved.model) is None
    assert find_model_row(resolved, "made-up") is None
