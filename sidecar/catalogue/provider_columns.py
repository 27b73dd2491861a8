"""The groups of columns that a row of `providers.toml` has, each with the usual value as its default. [pure]

In addresses and paths, `{name}` stands for a setting and `{model}` for the model. In the names of files, `{NAME}`
stands for an environment variable.
"""

from typing import Literal

import msgspec

from sidecar.catalogue.listings import Listing


class Setting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A setting of a provider, for its addresses or its authorization."""

    env: list[str] = []
    """Environment variables that hold it; the first that is set wins."""
    default: str | None = None
    required: bool = True
    binds_credential: bool = False
    """It selects whose server is asked, so a stored credential goes only to the user's own value of it. Default: false.
    """
    discoverable: bool = False
    """The machine's own credentials may know it: the scheme has `settings`. Default: false."""
    user_only: bool = False
    """It is in no address, and a request cannot set it. Default: false."""
    names_identity: bool = False
    """It names an identity of this machine, as `auth.identity_env` does. Default: false."""


class Variant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Other addresses for some settings. The first variant whose `when` matches is used."""

    when: dict[str, str]
    """Setting → pattern of its value; `*` means any value. `api_key` is set if there is a key."""
    base_url: str | None = None
    default_path: str | None = None
    paths: dict[str, str] = {}
    check_path: str | None = None
    hint: str | None = None
    """What to do if a request to these addresses is refused as unknown. Default: nothing is suggested."""


class AddressColumns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a provider is."""

    base_url: str
    """As the provider's own SDK defines it."""
    default_path: str = ""
    """Appended to a base address of the user's that has no path. Default: nothing."""
    list_base_url: str | None = None
    """The base address of the list of models, if that is on another host. Default: `base_url`."""
    paths: dict[str, str] = {}
    """Wire → path, if that is not the wire's own."""
    variants: list[Variant] = []
    host_env: str | None = None
    """An environment variable with the server's `host:port`."""
    host_port: int = 443
    """The port if `host_env` names none. Default: 443."""
    base_url_env: list[str] = []
    """The variables by which the provider's SDKs name another address, for a key of the environment; the first wins."""
    base_url_env_path: str = ""
    """What the SDKs add to such an address, a template. Default: nothing."""
    gateway_path: str | None = None
    """Replaces the base address behind a gateway. Default: the provider cannot be used behind one."""
    private_network: bool = False
    """The user runs it, so plain http to private addresses is allowed. Default: false."""


class DeviceLogin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A login with a code that the user types in a browser (RFC 8628)."""

    base_url: str
    """The server that grants the login, whose address the user is shown."""
    api_base_url: str
    """The API of the same account."""
    code_path: str
    token_path: str
    account_path: str | None = None
    """Below `api_base_url`, returns the account. Default: the account stays unknown."""
    account_field: str = "login"
    client_id: str
    """Identifies the program that asks; the user's `login_client_id` replaces it."""
    scope: str = ""
    import_files: list[str] = []
    """Files in which other programs keep their logins: an object with an entry for each server."""
    import_field: str = "oauth_token"
    import_account_field: str = "user"


class AuthColumns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a provider authorizes, and where its credentials are."""

    scheme: str = "bearer"
    """The scheme that makes headers of its credential, of `sidecar.auth.registry`. Default: `bearer`."""
    header: str = "authorization"
    """The header of a key. `authorization` is sent as `Bearer KEY`. Default: `authorization`."""
    signing_name: str = ""
    """The service that a signed request names, for the control plane too. Default: requests are not signed."""
    optional: bool = False
    """It can be used without a credential of ours. Default: false."""
    accepts_documents: bool = False
    """Its key may be a JSON document from which the scheme makes tokens. Default: false."""
    key_env: list[str] = []
    """Environment variables of the key; the first that is set wins."""
    token_env: list[str] = []
    """Environment variables of an access token."""
    key_prefixes: list[str] = []
    """How its keys begin, if no other provider's keys do."""
    key_base_url: str | None = None
    """The address to which a key of the environment belongs. Default: `address.base_url`."""
    identity_env: list[list[str]] = []
    """Lists of environment variables. If all of one list are set, the machine has an identity and `optional` is true.
    """
    identity_files: list[str] = []
    """Files that hold an identity, with the same effect."""
    check_path: str | None = None
    """The path that tests a credential, below the list's base address. Default: the first list of models."""
    login: DeviceLogin | None = None
    """Its own login. Default: it accepts only keys."""


class WireRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Models, by patterns of their names, that use another wire than the provider's usual one."""

    models: list[str]
    wire: str


class ModelColumns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which models a provider has, and which wires they use."""

    default: str | None = None
    """What the model `default` stands for. Default: nothing."""
    wire_rules: list[WireRule] = []
    """Exceptions to the usual wire; the first rule that matches wins."""
    wire_from_list: bool = False
    """The provider's list says which endpoints a model has. Default: false."""
    lists: tuple[Listing, ...] = (Listing(),)
    """Its lists of models; empty: it has none, and the catalogue's models stand for it. Default: one list of the usual
    shape."""
    are_deployments: bool = False
    """Its models are the deployments that the user has configured; no list of them is asked for. Default: false."""
    hints: dict[str, str] = {}
    """Pattern of models that it has only in another API → what to do if a request for one is refused."""
    models_dev_ids: list[str] = []
    """Its ids at models.dev; the first that has a model wins. Default: models.dev does not have it."""


class ReplayCase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A recorded exchange under a name of its own, for the tests of a host."""

    exchange: str
    """Its wire and case."""
    name: str
    """What it shows, for people."""
    after_results: str | None = None
    """The exchange to play once the conversation ends with results of tools. Default: the same one."""
    pace_ms: int = 15
    """The pause between two pieces. Default: 15, as with a quick model."""
    stalls: bool = False
    """The reply never ends. Default: false."""


class PriceFactor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a multiplier of the model's row applies: for a setting, or an option passed through to the provider."""

    name: str
    """The multiplier's name in `models.json`."""
    setting: str | None = None
    option: str | None = None
    equals: str | None = None
    unless: str | None = None


class PricingColumns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a provider bills."""

    factors: tuple[PriceFactor, ...] = ()
    credit_usd: str | None = None
    """The value of one of its credits in US dollars. Default: it bills in US dollars."""
    billed_models: str = "*"
    """A pattern of the models that are billed. All others run on the user's own machine and are free, except at
    `auth.key_base_url`. Default: every model is billed."""


class CompletionColumns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a provider completes text at a cursor."""

    wire: str = ""
    """Of `sidecar.wires.completions.registry`; `from_model` if the model's name begins with it. Default: none."""
    path: str | None = None
    """A template. Default: that of the variant of the address, else the wire's own."""
    base_url: str | None = None
    """A template of the base address, if it is another than for chats. Default: `address.base_url`."""
    replaces: list[str] = []
    """Ends of the base address that `path` replaces. Default: none."""
    hosts: dict[str, str] = {}
    """How the host of chats begins → how that of completions does. Default: they are the same."""
    methods: tuple[Literal["fim", "template", "chat"], ...] = ("chat",)
    """The ways to ask, the best first; the next one is tried if the provider refuses. Default: in a chat."""
    models: tuple[str, ...] = ("*",)
    """Patterns of the models with the way `fim`, in lower case. Default: all."""
    headers: dict[str, str] = {}
    """Fixed headers beside those of every request. Default: none."""
    cases: dict[str, ReplayCase] = {}
    """Recorded exchanges with names of their own. Default: none."""


class CounterRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a provider counts the tokens of a prompt."""

    name: str
    """Of `sidecar.wires.counts.registry`."""
    unsupported_codes: list[str] = []
    """Error codes that mean that it does not count for this model or at this place. Default: every error is a failure.
    """
