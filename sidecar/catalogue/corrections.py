"""What is said of models beside the table of the catalogue: plain values, for the configuration to hold.

`sidecar.catalogue.overlay` knows what they mean; whoever only starts need not load that.
"""

from collections.abc import Mapping
from typing import Any

import msgspec


class Correction(msgspec.Struct, frozen=True):
    """What the user says of one model: columns of `ModelRow`, and of its `caps`, each in the place of its own."""

    columns: dict[str, Any] = {}
    capabilities: dict[str, bool] = {}


class Overlay(msgspec.Struct, frozen=True):
    """What is known beside the table, by provider and model."""

    corrections: Mapping[str, Mapping[str, Correction]] = {}
    refreshed: Mapping[str, Mapping[str, msgspec.Raw]] = {}
    """The JSON of rows, known to be good."""
    refreshed_at: str | None = None
    """When those were fetched, ISO 8601 in UTC."""
