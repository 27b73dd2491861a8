"""Builds each client once; where that cannot be done, its tests are skipped with the reason."""

import pytest

from tests.clients.languages import LANGUAGES, Language, find_lack

NAMES = [language.name for language in LANGUAGES]


@pytest.fixture(scope="session", params=LANGUAGES, ids=NAMES)
def client(request: pytest.FixtureRequest) -> Language:
    """Return a language whose client is built."""
    language: Language = request.param
    if lack := find_lack(language.name):
        pytest.skip(f"{language.name}: {lack}")
    language.build()
    return language
