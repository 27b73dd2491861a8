"""What resolving a request starts from, and what it ends in: plain values. [pure]"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from protocol.requests import Chat, ListModels
from protocol.settings import Settings
from sidecar.catalogue.models import ModelRow
from sidecar.catalogue.provider_columns import ReplayCase
from sidecar.catalogue.provider_rows import ProviderRow
from sidecar.core.secret import Secret, Source
from sidecar.providers.setup import Setup
from sidecar.wires.shared.types import Route


class TargetSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says about where it goes. Its credentials are for that request alone."""

    provider: str | None = None
    """Id or alias; None: the model names it."""
    model: str | None = None
    """None: the request concerns the whole provider."""
    api_key: str | None = None
    base_url: str | None = None
    settings: Settings | None = None
    wire: str | None = None

    def __repr__(self) -> str:
        # It holds secrets.
        return f"TargetSpec(provider={self.provider!r}, model={self.model!r})"


def make_chat_spec(provider: str | None, chat: Chat) -> TargetSpec:
    """Return what *chat* says about where it goes."""
    return TargetSpec(
        provider=provider,
        model=chat.model,
        api_key=chat.api_key,
        base_url=chat.base_url,
        settings=chat.settings,
        wire=chat.options.wire,
    )


def make_list_spec(provider: str, params: ListModels) -> TargetSpec:
    """Return what a request for a list of models says about where it goes."""
    return TargetSpec(provider=provider, api_key=params.api_key, base_url=params.base_url, settings=params.settings)


class Provider(msgspec.Struct, frozen=True):
    """A provider as it is set up here."""

    id: str
    row: ProviderRow
    """Its row, corrected by the user's table."""
    setup: Setup

    @property
    def table(self) -> Mapping[str, Any]:
        """The user's `[providers.ID]`; empty: there is none."""
        return self.setup.config.providers.get(self.id, {})


class ResolvedProvider(msgspec.Struct, frozen=True):
    """A provider as one request asks it, with the model and the settings. Made once per request."""

    provider: Provider
    spec: TargetSpec
    model: str
    """Without the provider's name; empty: the request concerns the whole provider."""
    settings: dict[str, Any]
    """The plain settings, merged: strings, the table `deployments`, and switches of the user's file."""


class BaseAddress(msgspec.Struct, frozen=True):
    """A base address and who set it."""

    url: str
    source: Source | Literal["gateway"]
    """`none`: nobody, it is the provider's own."""
    variable: str | None = None
    """The variable of the provider's SDKs that sets it: an address for a key of the environment alone."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One place to which a request can be sent."""

    row: ProviderRow
    route: Route
    credential: Secret | None
    keys: tuple[Secret, ...] = ()
    """The credentials that may take each other's place, `credential` among them; empty: there is none."""
    list_base_url: str
    """The address of the provider's list of models."""
    case: ReplayCase | None = None
    """The recorded exchange that the model names, for a provider that plays such."""
    model_row: ModelRow | None = None
    """What the catalogue knows of the model."""
    env: Mapping[str, str] = {}
    """The environment, for schemes that look for credentials themselves."""
    key_variables: frozenset[str] = frozenset()
    """The variables that the configuration names for keys and tokens, of any provider or gateway."""
    gateway_headers: dict[str, str] = {}
    has_custom_address: bool = False
    """Whether the request, the user or a gateway sets the address, instead of the provider's own row."""
