"""Families of models that count tokens alike: the rows of `families.toml`, read on first use."""

from fnmatch import fnmatchcase
from functools import cache
from typing import Literal

import msgspec

from sidecar.core import resources
from sidecar.tokens.media import ImageRule

PATH = resources.find("tokens/families.toml")


class Family(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What models of one family make of a request: a row of `families.toml`. Everything but factors is in tokens."""

    name: str
    """For people."""
    models: tuple[str, ...]
    """Patterns of the models' names, in lower case."""
    vocabulary: str = "o200k_base"
    own: bool = False
    """The vocabulary is the models' own. Default: false, it stands in for theirs."""
    factor: float = 1.0
    """The models' tokens for each token of the vocabulary, in a text."""
    prompt: int = 0
    """Added to every request."""
    message: int = 0
    """Added to every message."""
    call: int = 0
    """Added to every tool call."""
    tools: int = 0
    """Added once when there are tools."""
    tool: int = 0
    """Added to every tool."""
    schema: Literal["json", "signature"] = "json"
    """What a tool's schema is counted as: its JSON, or the signature of a function that it is made into."""
    schema_factor: float = 1.0
    """The models' tokens for each token of the vocabulary, in a schema."""
    format: int = 0
    """Added when the answer must fit a schema."""
    format_factor: float = 1.0
    """As `schema_factor`, for that schema; 0: it is not part of the prompt."""
    reasoning: int = 0
    """Added when reasoning is asked for."""
    image: ImageRule = ImageRule(by="fixed", unit=1000)
    page: int = 1500
    """A page of a PDF."""
    band_pct: int = 25
    """How far off an estimate may be."""
    slack: int = 12
    """How many tokens more an estimate may be off, for what hosts add unseen."""
    tools_slack: int = 0
    """How many tokens more still, when there are tools."""


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    family: tuple[Family, ...]


@cache
def load_families() -> tuple[Family, ...]:
    """Return all families; the last one matches any name."""
    return msgspec.toml.decode(PATH.read_bytes(), type=_Table).family


def find_family(model: str) -> Family:
    """Return the family of *model*, in the spelling of any provider."""
    name = model.lower()
    names = (name, name.rpartition("/")[2])
    return next(family for family in load_families() if _matches(family, names))


def _matches(family: Family, names: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in family.models for name in names)
