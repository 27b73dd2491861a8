"""The HTTP client of a first chat, made early: the TLS context takes a while in a thread, and so do the chat's imports.

Must import little itself. Must not know how a chat is answered.
"""

from sidecar.catalogue import provider_rows
from sidecar.config.values import Config
from sidecar.upstream.http_client import HttpClient


def make_client(config: Config, provider: str | None, base_url: str | None) -> HttpClient:
    """Return a client which already makes its TLS context, if a chat with *provider* at *base_url* will need that.

    *provider* and *base_url* are as the chat has them. Where only settings or the environment say the address, the
    context may turn out to be needless.
    """
    client = HttpClient(config.http_client)
    if _find_address(config, provider, base_url).lower().startswith("https:"):
        client.prepare_tls()
    return client


def _find_address(config: Config, provider: str | None, base_url: str | None) -> str:
    """Return the address that is asked as a rule; empty if none is known."""
    if base_url:
        return base_url
    row = provider_rows.read_providers().get(provider or "")
    table = config.providers.get(provider or "", {})
    usual = row.address.base_url if row and row.transport == "http" else ""
    return table.get("base_url") or usual
