"""The table of schemes: every name that a provider's row has, and every module there is."""

import inspect
from pathlib import Path

import pytest

from sidecar.auth import registry
from sidecar.auth.scheme import Scheme
from sidecar.catalogue import provider_rows

FOLDER = Path(registry.__file__).parent / "schemes"


def test_every_row_names_a_scheme_that_there_is() -> None:
    named = {row.auth.scheme for row in provider_rows.read_providers().values()}
    assert named - {"none"} <= set(registry.list_schemes())
    assert set(registry.list_schemes()) <= named


def test_every_module_is_a_scheme_or_a_part_of_one() -> None:
    stems = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    assert {stem.partition("_")[0] for stem in stems} == set(registry.list_schemes())


@pytest.mark.parametrize("name", registry.list_schemes())
def test_a_scheme_offers_what_every_scheme_offers(name: str) -> None:
    loaded = registry.load_scheme(name)
    for wanted, function in inspect.getmembers(Scheme, inspect.iscoroutinefunction):
        found = getattr(loaded, wanted)
        assert list(inspect.signature(found).parameters) == list(inspect.signature(function).parameters)[1:]
        assert found.__doc__


def test_settings_that_are_discovered_are_found_by_a_scheme() -> None:
    rows = provider_rows.read_providers().values()
    discovering = {row.auth.scheme for row in rows if any(each.discoverable for each in row.settings.values())}
    assert discovering
    for name in discovering:
        assert inspect.iscoroutinefunction(registry.load_settings_scheme(name).find_settings)
