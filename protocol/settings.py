"""What a request says about its provider beside the model: the keys of `[providers.NAME]` in the configuration."""

from typing import Annotated

import msgspec

from protocol.values import Secret, Url

SettingValue = Annotated[str, msgspec.Meta(max_length=256, pattern=r"^[\x21-\x7e]*(?!\n)$")]


class Deployment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A model that the user's provider serves under a name of the user's own."""

    base_model: SettingValue | None = None
    """The model's usual name, under which the catalogue knows it."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The keys of a provider's table in the configuration, for this request only."""

    api_key: Secret | None = None
    access_token: Secret | None = None
    base_url: Url | None = None
    region: SettingValue | None = None
    project: SettingValue | None = None
    location: SettingValue | None = None
    account_id: SettingValue | None = None
    gateway: SettingValue | None = None
    resource: SettingValue | None = None
    api_version: SettingValue | None = None
    profile: SettingValue | None = None
    domain: SettingValue | None = None
    deployments: dict[str, Deployment] = {}
