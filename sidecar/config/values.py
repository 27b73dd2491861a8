"""What the user has set, frozen, and what makes a configuration unusable."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from sidecar.catalogue.corrections import Correction

REFRESH_URL = "https://models.dev/api.json"
"""What is known of models elsewhere (https://models.dev, read 2026-11)."""


LIMITS = MappingProxyType(
    {
        "max_attempts": 5,
        "concurrency": 65536,
        "queue_length": 65536,
        "requests_per_minute": 10**9,
        "tokens_per_minute": 10**12,
    }
)
"""The keys of `[limits]`, each of them a variable too: the most that it may be."""


class ConfigError(Exception):
    """A configuration that cannot be used; one line for each mistake."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What the user has set. Frozen: the process is never half-configured."""

    path: str
    """Where the file is, or would be."""
    providers: dict[str, dict[str, Any]] = {}
    """The file's `[providers.*]` tables, checked."""
    models: dict[str, dict[str, Any]] = {}
    """The file's `[models.*]` presets, checked: `model`, `provider`, `options`."""
    chains: dict[str, list[str]] = {}
    """The file's `[chains]`: the name of a list of fallbacks → its models."""
    gateway: dict[str, Any] = {}
    """The file's `[gateway]` table, checked."""
    limits: dict[str, Any] = {}
    """The file's `[limits]` table, checked: `max_attempts`, `concurrency`, `queue_length`, `requests_per_minute`,
    `tokens_per_minute`, and `providers` with the same for one."""
    env: Mapping[str, str] = {}
    store_dir: str | None = None
    """Where stored credentials are; None: in memory alone."""
    ledger_path: str | None = None
    """Where the ledger is; None: it is switched off."""
    budgets: dict[str, Any] = {}
    """The file's `[budgets]` table, checked: `day_usd`, `month_usd`, `warn_at` as decimals, `providers`."""
    corrections: Mapping[str, Mapping[str, Correction]] = {}
    """The file's `[catalogue]`: provider → model → what the user says of it."""
    refresh_url: str = REFRESH_URL
    """Where a refresh of the catalogue comes from."""
    cache_dir: str | None = None
    """Where the refreshed catalogue is kept; None: in memory alone."""
    log_level: str = "warn"
    record_dir: str | None = None
    replay_dir: str | None = None

    def __repr__(self) -> str:
        # The tables and the environment hold secrets.
        return f"Config(path={self.path!r})"
