"""The official SDKs as oracles: the same bytes mean the same to them, the same call is the same request.

Both sides talk to one server on this machine. The SDKs are slow to import: once for all tests.
"""

from typing import Any

import pytest

KEY = "sk-CANARY-0123456789"

BASES = {"anthropic_messages": "", "openai_chat": "/v1", "openai_responses": "/v1"}
"""By wire: what follows the origin in the SDK's own base address."""

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]

QUIET = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]
"""The SDKs may say what they like of models, blocks and their own future."""
