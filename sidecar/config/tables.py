"""The tables of `config.toml`, each as a pydantic model, because people write this file by hand.

Imported only if there is a file. Must not know what is done with the values.
"""

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, Strict, field_validator, model_validator

from protocol.options import Options
from protocol.routes import Preference
from sidecar.catalogue.embedding_columns import EmbeddingRow
from sidecar.catalogue.provider_columns import CompletionColumns
from sidecar.catalogue.provider_rows import NO_CHAT, read_gateways
from sidecar.catalogue.rerank_columns import RerankRow
from sidecar.config.catalogue_table import STRICT, CatalogueTable, check_wire, keep_exact
from sidecar.config.values import LIMITS, REUSE_MAX_BYTES
from sidecar.core.json_values import make_validation_error
from sidecar.wires.completions.registry import COMPLETION_WIRES
from sidecar.wires.embeddings import registry as embedding_registry
from sidecar.wires.rerank import registry as rerank_registry
from sidecar.wires.shared.types import Quirks

_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_PLAIN = r"^[A-Za-z0-9_.:@+-]{1,256}$"
"""What an address may contain."""


class DeploymentTable(BaseModel):
    """`[providers.NAME.deployments.DEPLOYMENT]`: the user's own name for a model."""

    model_config = STRICT

    base_model: str | None = None


class ProviderTable(BaseModel):
    """`[providers.NAME]`: changes to a built-in provider, or a whole compatible one."""

    model_config = STRICT

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
    quirks: dict[str, Any] = {}
    embeddings: dict[str, Any] = {}
    rerank: dict[str, Any] = {}
    completion: dict[str, Any] = {}
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
    def _check_quirks(cls, quirks: dict[str, Any]) -> dict[str, Any]:
        return _check_fields(quirks, Quirks)

    @field_validator("embeddings")
    @classmethod
    def _check_embeddings(cls, embeddings: dict[str, Any]) -> dict[str, Any]:
        if embeddings.get("wire", "usual") not in embedding_registry.WIRES:
            raise ValueError(f"`wire` must be one of {', '.join(embedding_registry.WIRES)}")
        if embeddings.get("max_inputs", 1) == 0:
            raise ValueError("`max_inputs` must be at least 1")
        return _check_fields(embeddings, EmbeddingRow)

    @field_validator("rerank")
    @classmethod
    def _check_rerank(cls, rerank: dict[str, Any]) -> dict[str, Any]:
        if rerank.get("wire", "usual") not in rerank_registry.list_names():
            raise ValueError(f"`wire` must be one of {', '.join(rerank_registry.list_names())}")
        return _check_fields(rerank, RerankRow)

    @field_validator("completion")
    @classmethod
    def _check_completion(cls, completion: dict[str, Any]) -> dict[str, Any]:
        wire = completion.get("wire", next(iter(COMPLETION_WIRES)))
        if wire not in COMPLETION_WIRES:
            raise ValueError(f"`wire` must be one of {', '.join(COMPLETION_WIRES)}")
        return _check_fields(completion, CompletionColumns)

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or re.search(r"[^\t -~\x80-\xff]", value):
                raise ValueError(f"cannot send the header {name!r}: it has characters that no header can carry")
        return headers

    @field_validator("credentials_file")
    @classmethod
    def _check_absolute(cls, file: str | None) -> str | None:
        if file is not None and not Path(file).is_absolute():
            raise ValueError("must be an absolute path")
        return file

    @field_validator("wire")
    @classmethod
    def _check_wire(cls, wire: str | None) -> str | None:
        return wire if wire in (None, NO_CHAT) else check_wire(wire)


class ModelTable(BaseModel):
    """`[models.NAME]`: a preset, for use wherever a model is named."""

    model_config = STRICT

    model: str = Field(min_length=1, max_length=256)
    provider: str | None = None
    options: dict[str, Any] = {}

    @field_validator("options")
    @classmethod
    def _check_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        return _check_fields(options, Options)


class GatewayTable(BaseModel):
    """`[gateway]`: a gateway of a known `kind`, or any other by the `prefix` of its addresses."""

    model_config = STRICT

    kind: str | None = None
    account_id: str | None = Field(None, pattern=_PLAIN)
    gateway: str | None = Field(None, pattern=_PLAIN)
    token: SecretStr | None = None
    token_env: str | None = Field(None, pattern=_VARIABLE)
    prefix: str | None = Field(None, max_length=2048, pattern=r"^https?://")
    providers: list[str] = []

    @model_validator(mode="after")
    def _check_keys(self) -> "GatewayTable":
        if self.kind is not None and self.kind not in read_gateways():
            raise ValueError(f"`kind` must be one of {', '.join(read_gateways())}")
        if (self.prefix is None) == (self.kind is None):
            raise ValueError("needs either `kind` or `prefix`")
        if self.kind is not None and (self.account_id is None or self.gateway is None):
            raise ValueError("needs `account_id` and `gateway` beside `kind`")
        return self


def _check_fields(values: dict[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return *values*, which are fields of the struct *kind*.

    Raises: ValueError.
    """
    if unknown := [key for key in values if key not in kind.__struct_fields__]:
        raise ValueError(f"there is no key {', '.join(unknown)}")
    try:
        msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise ValueError(make_validation_error(error, "", kind).body.message) from None
    return values


class LimitTable(BaseModel):
    """`[limits.providers.NAME]`: how often, and how often at once, to ask one provider with each credential."""

    model_config = STRICT

    max_attempts: int | None = Field(None, ge=1, le=LIMITS["max_attempts"])
    concurrency: int | None = Field(None, ge=1, le=LIMITS["concurrency"])
    queue_length: int | None = Field(None, ge=1, le=LIMITS["queue_length"])
    requests_per_minute: int | None = Field(None, ge=1, le=LIMITS["requests_per_minute"])
    tokens_per_minute: int | None = Field(None, ge=1, le=LIMITS["tokens_per_minute"])


class LimitsTable(LimitTable):
    """`[limits]`: the same for every provider."""

    providers: dict[str, LimitTable] = {}


Usd = Annotated[Decimal, Strict(False), BeforeValidator(keep_exact), Field(ge=0, le=10**9, allow_inf_nan=False)]  # noqa: FBT003 - pydantic's argument


class BudgetTable(BaseModel):
    """`[budgets.providers.NAME]`: how much may be spent at one provider."""

    model_config = STRICT

    day_usd: Usd | None = None
    month_usd: Usd | None = None


class BudgetsTable(BudgetTable):
    """`[budgets]`: how much may be spent in a day and in a month, in UTC."""

    warn_at: Annotated[Decimal, Strict(False), BeforeValidator(keep_exact), Field(gt=0, le=1)] = Decimal("0.8")  # noqa: FBT003 - pydantic's argument
    providers: dict[str, BudgetTable] = {}


class RouteTable(BaseModel):
    """`[route]`: how the model `auto` is chosen, where a chat says nothing else."""

    model_config = STRICT

    models: Annotated[list[str], Field(min_length=1, max_length=16)] | str | None = None
    prefer: Preference | None = None
    max_usd: Usd | None = None
    region: str | None = Field(None, min_length=1, max_length=64)
    fall_back: bool | None = None


class ReuseTable(BaseModel):
    """`[reuse]`: where answers are kept that chats ask to use again."""

    model_config = STRICT

    persist: bool = False
    max_bytes: int = Field(REUSE_MAX_BYTES, ge=2**16, le=2**32)


class LedgerTable(BaseModel):
    """`[ledger]`."""

    model_config = STRICT

    enabled: bool = True


Model = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[\x20-\x7e]+$")]


class TaskTable(BaseModel):
    """`[tasks.NAME]`: a task of the user's own, or changes to a built-in one. See `sidecar.config.task_rows`."""

    model_config = STRICT

    summary: str = Field("", max_length=500)
    model: Model | None = None
    models: list[Model] = Field([], min_length=1, max_length=9)
    chain: str | None = Field(None, min_length=1, max_length=256)
    options: dict[str, Any] = {}
    system: str = Field("", max_length=200_000)
    prompt: str = Field("", max_length=200_000)
    input: dict[str, str] = {}
    choices: dict[str, dict[str, str]] = {}
    output: dict[str, Any] = {}
    max_chars: int = Field(1, ge=100, le=10_000_000)
    max_file_chars: int = Field(1, ge=100, le=10_000_000)

    @field_validator("options")
    @classmethod
    def _check_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        return _check_fields(options, Options)


class TasksTable(BaseModel):
    """`[tasks]`: the model of tasks that have none, and a table for each task."""

    model_config = STRICT | ConfigDict(extra="allow")
    __pydantic_extra__: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")], TaskTable] = Field(init=False)

    default: Model | None = None


class LogTable(BaseModel):
    """`[log]`."""

    model_config = STRICT

    level: Literal["debug", "info", "warn", "error", "off"] = "warn"


class ReplayTable(BaseModel):
    """`[replay]`: the folder of the exchanges that the provider `replay` plays."""

    model_config = STRICT

    dir: str


class File(BaseModel):
    """The whole file."""

    model_config = STRICT

    providers: dict[str, ProviderTable] = {}
    models: dict[str, ModelTable] = {}
    route: RouteTable | None = None
    reuse: ReuseTable | None = None
    chains: dict[str, Annotated[list[str], Field(min_length=1, max_length=8)]] = {}
    """`[chains]`: named lists of models to fall back to; each names its provider or is a preset."""
    catalogue: CatalogueTable | None = None
    gateway: GatewayTable | None = None
    limits: LimitsTable | None = None
    ledger: LedgerTable | None = None
    budgets: BudgetsTable | None = None
    log: LogTable | None = None
    replay: ReplayTable | None = None
    tasks: TasksTable | None = None
