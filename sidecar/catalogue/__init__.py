"""What is known of providers: `providers.toml`, one table each, read on first use.

Must not know requests, credentials or the environment.
"""

from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import msgspec

from sidecar.wires.types import Quirks


class WireRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Models, by patterns of their names, that speak another wire than the provider's usual one."""

    models: list[str]
    wire: str


class ProviderRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider."""

    name: str
    wire: str
    """Its usual wire; `from_model` where the model's name begins with it."""
    wires: list[WireRule] = []
    """Exceptions, the first that matches wins."""
    base_url: str
    """What the provider's own SDK means by it."""
    auth: str = "bearer"
    """The module of `sidecar.auth` that turns its credential into headers. Default: `bearer`."""
    auth_header: str = "authorization"
    """The header of a key; `authorization` gets `Bearer ` before it. Default: `authorization`."""
    env: list[str] = []
    """Environment variables of the key, the first that is set wins."""
    listing: str = "openai"
    """The shape of its list of models, a row of `sidecar.listings`. Default: `openai`."""
    transport: str = "http"
    """`http`, or `replay` for recorded exchanges. Default: `http`."""
    headers: dict[str, str] = {}
    """Fixed headers of every request."""
    quirks: Quirks = Quirks()
    aliases: list[str] = []
    """Other ids it is known under."""
    private_network: bool = False
    """Plain http to private addresses is fine: it runs at the user's place. Default: false."""


@cache
def providers() -> dict[str, ProviderRow]:
    """Return the built-in providers by id."""
    import tomllib

    with (Path(__file__).parent / "providers.toml").open("rb") as file:
        return msgspec.convert(tomllib.load(file), dict[str, ProviderRow])


@cache
def aliases() -> dict[str, str]:
    """Return alias → id."""
    return {alias: name for name, row in providers().items() for alias in row.aliases}


def wire_of(row: ProviderRow, model: str) -> str:
    """Return the wire that *row*'s own table gives *model*."""
    for rule in row.wires:
        if any(fnmatchcase(model, pattern) for pattern in rule.models):
            return rule.wire
    return row.wire
