"""The shape of `config.toml` and its mistakes, all of them at once with their lines.

Uses pydantic, because people write this file by hand; imported only when there is a file.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    Strict,
    ValidationError,
    field_validator,
    model_validator,
)

from protocol.requests import Options
from sidecar.catalogue.provider_rows import read_aliases, read_gateways, read_providers
from sidecar.config.catalogue_table import CatalogueTable, exact
from sidecar.config.values import LIMITS, ConfigError
from sidecar.core.json_values import validation_error
from sidecar.wires import registry
from sidecar.wires.shared.types import Quirks

_STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True, strict=True)


_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_PLAIN = r"^[A-Za-z0-9_.:@+-]{1,256}$"


class DeploymentTable(BaseModel):
    """`[providers.NAME.deployments.DEPLOYMENT]`: the model under a name of the user's own."""

    model_config = _STRICT

    base_model: str | None = None


class ProviderTable(BaseModel):
    """`[providers.NAME]`: corrections to a built-in provider, or a whole compatible one."""

    model_config = _STRICT

    api_key: SecretStr | None = None
    api_key_env: str | None = Field(None, pattern=_VARIABLE)
    api_keys: list[SecretStr] = Field([], min_length=1, max_length=16)
    api_keys_env: list[Annotated[str, Field(pattern=_VARIABLE)]] = Field([], min_length=1, max_length=16)
    access_token: SecretStr | None = None
    access_token_env: str | None = Field(None, pattern=_VARIABLE)
    base_url: str | None = Field(None, max_length=2048)
    login_base_url: str | None = Field(None, max_length=2048)
    login_client_id: str | None = Field(None, pattern=r"^[A-Za-z0-9._-]{1,128}$")
    name: str | None = None
    wire: str | None = None
    auth_header: str | None = Field(None, pattern=r"^[A-Za-z0-9-]{1,64}$")
    headers: dict[str, str] = {}
    auth_optional: bool | None = None
    quirks: dict[str, bool | str] = {}
    region: str | None = Field(None, pattern=_PLAIN)
    project: str | None = Field(None, pattern=_PLAIN)
    location: str | None = Field(None, pattern=_PLAIN)
    account_id: str | None = Field(None, pattern=_PLAIN)
    gateway: str | None = Field(None, pattern=_PLAIN)
    resource: str | None = Field(None, pattern=_PLAIN)
    api_version: str | None = Field(None, pattern=_PLAIN)
    profile: str | None = Field(None, pattern=_PLAIN)
    domain: str | None = Field(None, pattern=_PLAIN)
    instance_metadata: bool | None = None
    credentials_file: str | None = Field(None, max_length=4096)
    subject_token: str | None = Field(None, pattern=_PLAIN)
    deployments: dict[str, DeploymentTable] = {}

    @field_validator("quirks")
    @classmethod
    def _known_quirks(cls, quirks: dict[str, bool | str]) -> dict[str, bool | str]:
        return _converted(quirks, Quirks)

    @field_validator("credentials_file")
    @classmethod
    def _absolute(cls, file: str | None) -> str | None:
        if file is not None and not Path(file).is_absolute():
            raise ValueError("must be an absolute path")
        return file

    @field_validator("wire")
    @classmethod
    def _known_wire(cls, wire: str | None) -> str | None:
        if wire is not None and wire not in registry.list_names():
            raise ValueError(f"must be one of {', '.join(registry.list_names())}")
        return wire


class ModelTable(BaseModel):
    """`[models.NAME]`: a preset, usable wherever a model is."""

    model_config = _STRICT

    model: str = Field(min_length=1, max_length=256)
    provider: str | None = None
    options: dict[str, Any] = {}

    @field_validator("options")
    @classmethod
    def _known_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        return _converted(options, Options)


class GatewayTable(BaseModel):
    """`[gateway]`: a gateway of a known `kind`, or any other by the `prefix` of its addresses."""

    model_config = _STRICT

    kind: str | None = None
    account_id: str | None = Field(None, pattern=_PLAIN)
    gateway: str | None = Field(None, pattern=_PLAIN)
    token: SecretStr | None = None
    token_env: str | None = Field(None, pattern=_VARIABLE)
    prefix: str | None = Field(None, max_length=2048, pattern=r"^https?://")
    providers: list[str] = []

    @model_validator(mode="after")
    def _one_way(self) -> "GatewayTable":
        if self.kind is not None and self.kind not in read_gateways():
            raise ValueError(f"`kind` must be one of {', '.join(read_gateways())}")
        if (self.prefix is None) == (self.kind is None):
            raise ValueError("needs either `kind` or `prefix`")
        if self.kind is not None and (self.account_id is None or self.gateway is None):
            raise ValueError("needs `account_id` and `gateway` beside `kind`")
        return self


def _converted(values: dict[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    unknown = [key for key in values if key not in kind.__struct_fields__]
    if unknown:
        raise ValueError(f"has no field {', '.join(unknown)}")
    try:
        msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise ValueError(validation_error(error, "", kind).body.message) from None
    return values


class LimitTable(BaseModel):
    """`[limits.providers.NAME]`: how often to ask one provider, and how much at once, with each credential."""

    model_config = _STRICT

    max_attempts: int | None = Field(None, ge=1, le=LIMITS["max_attempts"])
    concurrency: int | None = Field(None, ge=1, le=LIMITS["concurrency"])
    queue_length: int | None = Field(None, ge=1, le=LIMITS["queue_length"])
    requests_per_minute: int | None = Field(None, ge=1, le=LIMITS["requests_per_minute"])
    tokens_per_minute: int | None = Field(None, ge=1, le=LIMITS["tokens_per_minute"])


class LimitsTable(LimitTable):
    """`[limits]`: the same for every provider."""

    providers: dict[str, LimitTable] = {}


Usd = Annotated[Decimal, Strict(False), BeforeValidator(exact), Field(ge=0, le=10**9, allow_inf_nan=False)]  # noqa: FBT003 - pydantic's argument


class BudgetTable(BaseModel):
    """`[budgets.providers.NAME]`: what may be spent at one provider."""

    model_config = _STRICT

    day_usd: Usd | None = None
    month_usd: Usd | None = None


class BudgetsTable(BudgetTable):
    """`[budgets]`: what may be spent in a day and in a month, both in UTC."""

    warn_at: Annotated[Decimal, Strict(False), BeforeValidator(exact), Field(gt=0, le=1)] = Decimal("0.8")  # noqa: FBT003 - pydantic's argument
    providers: dict[str, BudgetTable] = {}


class LedgerTable(BaseModel):
    """`[ledger]`."""

    model_config = _STRICT

    enabled: bool = True


class LogTable(BaseModel):
    """`[log]`."""

    model_config = _STRICT

    level: Literal["debug", "info", "warn", "error", "off"] = "warn"


class ReplayTable(BaseModel):
    """`[replay]`: where the exchanges are that the provider `replay` plays."""

    model_config = _STRICT

    dir: str


class File(BaseModel):
    """The whole file."""

    model_config = _STRICT

    providers: dict[str, ProviderTable] = {}
    models: dict[str, ModelTable] = {}
    chains: dict[str, Annotated[list[str], Field(min_length=1, max_length=8)]] = {}
    """`[chains]`: lists of models, each naming its provider or a preset, to fall back to by a name."""
    catalogue: CatalogueTable | None = None
    gateway: GatewayTable | None = None
    limits: LimitsTable | None = None
    ledger: LedgerTable | None = None
    budgets: BudgetsTable | None = None
    log: LogTable | None = None
    replay: ReplayTable | None = None


def parse(content: bytes, path: str) -> dict[str, Any]:
    """Return the tables of a file, secrets as plain strings.

    Raises: ConfigError with one line for each mistake.
    """
    try:
        text = content.decode("utf-8-sig")
        raw = tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply") from None
    except ValueError as error:
        # No UTF-8, no TOML, or a number of thousands of digits.
        raise ConfigError(f"{path}: is not TOML: {error}") from None
    try:
        file = File.model_validate(raw)
    except ValidationError as error:
        lines = [_mistake(path, text, each["loc"], each["msg"]) for each in error.errors(include_input=False)]
        raise ConfigError("\n".join(lines)) from None
    if lacking := list(_lacking(file, path, text)):
        raise ConfigError("\n".join(lacking))
    tables: dict[str, Any] = _revealed(file.model_dump(exclude_unset=True))
    return tables


def _lacking(file: File, path: str, text: str) -> Iterator[str]:
    """Yield a mistake for each provider that lacks what only a built-in one may leave out, or that there is not."""
    for name, table in file.providers.items():
        for key in ("wire", "base_url"):
            if name not in read_providers() and getattr(table, key) is None:
                yield _mistake(path, text, ("providers", name), f"Needs `{key}`: it is not a built-in provider")
    for name, models in ((file.catalogue and file.catalogue.model_extra) or {}).items():
        if name not in read_providers() and name not in file.providers:
            alias = read_aliases().get(name)
            hint = f"the provider's id is {alias}" if alias else "there is no such provider"
            yield _mistake(path, text, ("catalogue", name, *[*models][:1]), hint)


def _revealed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _revealed(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_revealed(each) for each in value]
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _mistake(path: str, text: str, loc: tuple[int | str, ...], problem: str) -> str:
    names = [str(part) for part in loc]
    line = _line_of(text, names)
    place = f"{path}:{line}" if line else path
    return f"{place}: {'.'.join(names)}: {problem[0].lower()}{problem[1:]}"


_NAME = r"(?:\"[^\"]*\"|'[^']*'|[\w-]+)"
_PATH = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_HEADER = re.compile(rf"^\s*(\[\[?)\s*({_PATH})\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(rf"^\s*({_PATH})\s*=")


def _line_of(text: str, names: list[str]) -> int | None:
    """Return the line of the longest part of *names* that the file spells out."""
    best, best_length, table = None, 0, list[str]()
    entries = Counter[str]()
    for number, line in enumerate(text.split("\n"), 1):
        if match := _HEADER.match(line):
            table = _split(match[2])
            if match[1] == "[[":
                # An entry of a list, whose place is its number.
                entries[match[2]] += 1
                table = [*table, str(entries[match[2]] - 1)]
            path = table
        elif match := _KEY.match(line):
            path = table + _split(match[1])
        else:
            continue
        if path == names[: len(path)] and len(path) > best_length:
            best, best_length = number, len(path)
    return best


def _split(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(_NAME, dotted)]
