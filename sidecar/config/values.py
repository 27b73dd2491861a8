"""What the user has set, frozen, and what makes a configuration unusable. [pure]"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from sidecar.catalogue.corrections import Correction
from sidecar.core.http import ClientName

LoopName = Literal["uvloop", "asyncio"]
"""Event loops: the one in C, and Python's own."""

REFRESH_URL = "https://models.dev/api.json"
"""The catalogue of models.dev (https://models.dev, read 2026-11)."""

LIMITS = MappingProxyType(
    {
        "max_attempts": 5,
        "concurrency": 65536,
        "queue_length": 65536,
        "requests_per_minute": 10**9,
        "tokens_per_minute": 10**12,
    }
)
"""Key of `[limits]` → its largest value. Each key is an environment variable too."""


REUSE_MAX_BYTES = 32 * 1024 * 1024
"""What stored answers may take, unless the user sets it."""


class ConfigError(Exception):
    """A configuration that cannot be used. Each line of the text is one mistake."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What the user has set, read once and never replaced. What is found later is in `sidecar.providers.setup`."""

    path: str
    """The configuration file, whether it exists or not."""
    providers: dict[str, dict[str, Any]] = {}
    """The file's `[providers.*]` tables, checked."""
    models: dict[str, dict[str, Any]] = {}
    """The file's `[models.*]` presets, checked: `model`, `provider`, `options`."""
    route: dict[str, Any] = {}
    """The file's `[route]` table, checked: what a route is like where a request says nothing else."""
    chains: dict[str, list[str]] = {}
    """The file's `[chains]`: name → models to fall back to in turn."""
    tasks: dict[str, dict[str, Any]] = {}
    """The file's `[tasks.*]` tables, checked: the keys of `sidecar.config.task_rows.TaskRow` that it sets."""
    task_model: str | None = None
    """The file's `[tasks] default`: the model of tasks that have none."""
    gateway: dict[str, Any] = {}
    """The file's `[gateway]` table, checked, with the `token` of its variable."""
    limits: dict[str, Any] = {}
    """The file's `[limits]` table, checked: the keys of `LIMITS`, and `providers` with the same keys for each."""
    env: Mapping[str, str] = {}
    """The environment of the process."""
    store_dir: str | None = None
    """The folder of stored credentials; None: they are kept in memory only."""
    uses_keychain: bool = True
    """Whether credentials may be stored in the system's keychain, beside the folder."""
    ledger_path: str | None = None
    """The ledger; None: it is switched off."""
    reuse_path: str | None = None
    """The file of stored answers; None: they are kept in memory only."""
    reuse_max_bytes: int = REUSE_MAX_BYTES
    """The most that stored answers take."""
    budgets: dict[str, Any] = {}
    """The file's `[budgets]` table, checked: `day_usd`, `month_usd`, `warn_at` as decimals, `providers`."""
    corrections: Mapping[str, Mapping[str, Correction]] = {}
    """The file's `[catalogue]`: provider → model → what the user says of it."""
    refresh_url: str = REFRESH_URL
    """The address from which the catalogue is refreshed."""
    cache_dir: str | None = None
    """The folder of the refreshed catalogue; None: it is kept in memory only."""
    event_loop: LoopName = "uvloop"
    """The loop to run in, if it is installed."""
    http_client: ClientName = "direct"
    """Who carries requests where there is a choice."""
    log_level: str = "warn"
    trace_path: str | None = None
    """The file with every line in both directions; None: there is none."""
    record_dir: str | None = None
    """The folder in which exchanges are recorded; None: none are."""
    replay_dir: str | None = None
    """The folder that the provider `replay` plays; None: the recordings that come with the program."""

    def __repr__(self) -> str:
        # The tables and the environment hold secrets.
        return f"Config(path={self.path!r})"
