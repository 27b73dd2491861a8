"""The table `[catalogue]` of `config.toml`: what the user says of models, and from where the catalogue is refreshed.

Imported only if there is a file. Must not know what is done with the values.
"""

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, field_validator, model_validator

from sidecar.catalogue.models import ModelKind
from sidecar.core import url_policy
from sidecar.core.errors import SidecarError
from sidecar.wires import registry

STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True, strict=True)


def check_wire(wire: str) -> str:
    """Return *wire*, which is the name of a wire.

    Raises: ValueError.
    """
    if wire not in registry.list_names():
        raise ValueError(f"must be one of {', '.join(registry.list_names())}")
    return wire


def keep_exact(value: object) -> object:
    """Return a number of the file as the text that it is, and not as the nearest binary fraction."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _parse_day(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError("must be a date, YYYY-MM-DD") from None


Tokens = Annotated[int, Field(ge=1, le=10**9)]
UsdPerMillion = Annotated[
    Decimal,
    Strict(False),  # noqa: FBT003 - pydantic's argument
    BeforeValidator(keep_exact),
    Field(ge=0, le=10**6, decimal_places=12, allow_inf_nan=False),
]
Day = Annotated[date, BeforeValidator(_parse_day)]
Refusable = Literal[
    "temperature",
    "top_p",
    "stop",
    "seed",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "response_format",
    "max_tokens",
    "images",
    "stream",
]
"""An option that a model may refuse."""
Effort = Literal["none", "default", "minimal", "low", "medium", "high", "xhigh", "max"]


class PriceTable(BaseModel):
    """`price`: US dollars per million tokens. An absent rate is `input` or `output`, whichever it is a part of.

    `search` is the price of 1,000 search units of a rerank.
    """

    model_config = STRICT

    input: UsdPerMillion
    output: UsdPerMillion
    cache_read: UsdPerMillion | None = None
    cache_write: UsdPerMillion | None = None
    cache_write_1h: UsdPerMillion | None = None
    audio_input: UsdPerMillion | None = None
    audio_output: UsdPerMillion | None = None
    reasoning: UsdPerMillion | None = None
    search: UsdPerMillion | None = None


class TierTable(BaseModel):
    """`tiers`: the price of a whole request whose prompt is longer than `over_tokens`."""

    model_config = STRICT

    over_tokens: Tokens
    price: PriceTable


class CapabilityTable(BaseModel):
    """`capabilities`: each that is named replaces the catalogue's."""

    model_config = STRICT

    tools: bool = False
    images: bool = False
    pdf: bool = False
    audio: bool = False
    video: bool = False
    reasoning: bool = False
    structured: bool = False
    sampling: bool = False


class CorrectionTable(BaseModel):
    """`[catalogue.PROVIDER."MODEL"]`: columns of one model; absent columns stay as they are.

    Defaults do not count: only the keys that the file sets are used.
    """

    model_config = STRICT

    name: str = Field("", min_length=1, max_length=256)
    kind: ModelKind = "chat"
    dimensions: list[Annotated[int, Field(ge=1, le=1_000_000)]] = []
    context_length: Tokens = 1
    max_input: Tokens = 1
    max_output: Tokens = 1
    cache_min_tokens: Tokens = 1
    capabilities: CapabilityTable = CapabilityTable()
    efforts: list[Effort] = []
    thinking: Literal["adaptive", "budget"] = "adaptive"
    refuses: list[Refusable] = []
    wire: str = ""
    status: Literal["active", "preview", "deprecated", "retired"] = "active"
    retires: Day = date.max
    price: PriceTable | None = None
    tiers: list[TierTable] = []

    @field_validator("wire")
    @classmethod
    def _check_wire(cls, wire: str) -> str:
        return check_wire(wire)

    @model_validator(mode="after")
    def _check_columns(self) -> "CorrectionTable":
        if self.tiers and self.price is None:
            raise ValueError("`tiers` need a `price`, which applies below them")
        if len({tier.over_tokens for tier in self.tiers}) < len(self.tiers):
            raise ValueError("two `tiers` have the same `over_tokens`")
        for limit in ("max_input", "max_output"):
            if {limit, "context_length"} <= self.model_fields_set and getattr(self, limit) > self.context_length:
                raise ValueError(f"`{limit}` is greater than `context_length`")
        return self


Corrections = dict[Annotated[str, Field(min_length=1, max_length=256)], CorrectionTable]


class CatalogueTable(BaseModel):
    """`[catalogue]`: `refresh_url`, and a table for each provider."""

    model_config = STRICT | ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Corrections] = Field(init=False)

    refresh_url: str = ""

    @field_validator("refresh_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        try:
            return url_policy.check_base_url(url, "refresh_url", private_network=False)
        except SidecarError as error:
            raise ValueError(error.body.message) from None
