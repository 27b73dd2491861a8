"""How a provider is authorized: the lines of a login, and the results of the other operations of `authenticate`."""

from typing import Literal

import msgspec

from protocol.replies import ReplyId, Status, Warn

Storage = Literal["keychain", "file", "memory"]
"""Where a stored credential is: in the system's keychain, in a file that only the user can read, or in this process."""

Method = Literal["api_key", "access_token", "device", "chain"]
"""How a provider is authorized. `device`: a login with a code. `chain`: the machine's own credentials for the
provider's tools."""

CredentialSource = Literal["request", "configuration", "store", "environment"]


class DeviceFlow(msgspec.Struct, frozen=True, tag_field="type", tag="device_flow", kw_only=True):
    """The code to show to the user, and the address to enter it at. The sidecar opens no browser."""

    user_code: str
    verification_uri: str
    expires_in: int
    """How many seconds the code is valid."""
    interval: float
    """Seconds between two requests that ask whether the user has entered the code."""


class LoggedIn(msgspec.Struct, frozen=True, tag_field="type", tag="done", kw_only=True):
    """The end of a login: the credential is stored."""

    provider: str
    method: Method
    account: str | None
    """Whose login it is, if the provider says so."""
    storage: Storage
    expires_at: str | None
    """When the credential expires, ISO 8601 in UTC."""
    warnings: list[Warn] = []


class Authentication(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The result of `status`, `validate` and `logout`: how a provider is authorized, never the secret."""

    provider: str
    ready: bool
    """Whether the sidecar could send a chat now, as far as it can tell without asking the provider."""
    logins: list[Literal["api_key", "device", "existing"]]
    """What a login accepts: a key, a code that the user types in a browser, a login that another program has left."""
    method: Method | None = None
    source: CredentialSource | None = None
    """Where the credential comes from."""
    account: str | None = None
    existing_account: str | None = None
    """Whose login another program has left, if `logins` has `existing` and its file says so."""
    storage: Storage | None = None
    """Where the credential is, if its `source` is `store`."""
    expires_at: str | None = None
    problem: str | None = None
    """Why the credential that was found cannot be used."""
    missing_settings: list[str] = []
    """Settings that a chat needs and nobody has set, for `params.settings` of a login with a key."""
    valid: bool | None = None
    """After `validate`: true. A refused credential is an error."""
    removed: bool | None = None
    """After `logout`: whether a credential was stored."""
    warnings: list[Warn] = []


LoginChunk = DeviceFlow | Status | LoggedIn


class StreamedLogin(msgspec.Struct, frozen=True):
    """One line of a login."""

    id: ReplyId
    success: Literal[True]
    streaming: Literal[True]
    seq: int
    data: LoginChunk
