"""Which family a model belongs to when its tokens are counted: `tokenizers.toml`, read on first use."""

from fnmatch import fnmatchcase
from functools import cache

import msgspec

from sidecar.core import resources
from sidecar.tokens.estimates import Family

PATH = resources.find("tokens/families.toml")


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    family: tuple[Family, ...]


@cache
def families() -> tuple[Family, ...]:
    """Return all families; the last takes any name."""
    return msgspec.toml.decode(PATH.read_bytes(), type=_Table).family


def family_of(model: str) -> Family:
    """Return the family of *model*, as any provider spells its name."""
    name = model.lower()
    names = (name, name.rpartition("/")[2])
    return next(row for row in families() if _fits(row, names))


def _fits(row: Family, names: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in row.models for name in names)
