"""What is known of models besides the built-in table: plain values, which `sidecar.catalogue.overlay` lays over it.

This is a module of its own because a process that only starts need not load the table.
"""

from collections.abc import Mapping
from typing import Any

import msgspec


class Correction(msgspec.Struct, frozen=True):
    """What the user says of one model: columns of `ModelRow`, and of its `caps`, each replacing the table's."""

    columns: dict[str, Any] = {}
    capabilities: dict[str, bool] = {}


class Refreshed(msgspec.Struct, frozen=True):
    """What a refresh of the catalogue has brought."""

    models: Mapping[str, Mapping[str, msgspec.Raw]] = {}
    """Provider → model → the JSON of its row, which is valid."""
    fetched_at: str | None = None
    """ISO 8601 in UTC; None: there was no refresh."""


class Overlay(msgspec.Struct, frozen=True):
    """All that is known besides the table."""

    corrections: Mapping[str, Mapping[str, Correction]] = {}
    """Provider → model → what the user says of it."""
    refreshed: Refreshed = Refreshed()
