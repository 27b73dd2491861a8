"""The SDKs, their clients and the server that both sides talk to."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.differential import BASES, KEY
from tests.support.fake_provider import Provider
from tests.support.listening_provider import ListeningProvider


@pytest.fixture(scope="session")
def sdks() -> dict[str, Any]:
    """Return the SDK of each wire, imported."""
    import anthropic
    import openai

    return {"anthropic_messages": anthropic, "openai_chat": openai, "openai_responses": openai}


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    """Yield the server that both sides talk to."""
    with ListeningProvider() as listening:
        yield listening


@pytest.fixture(scope="session")
def clients(sdks: dict[str, Any], provider: Provider) -> Iterator[dict[str, Any]]:
    """Yield a client of the SDK for each wire."""
    kinds = {"": sdks["anthropic_messages"].Anthropic, "/v1": sdks["openai_chat"].OpenAI}
    with ExitStack() as stack:
        by_base = {
            base: stack.enter_context(kind(api_key=KEY, base_url=provider.url + base, max_retries=0, timeout=10))
            for base, kind in kinds.items()
        }
        yield {wire: by_base[base] for wire, base in BASES.items()}
