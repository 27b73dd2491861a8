"""Which recorded exchanges a wheel holds: those that the cases of the provider `replay` name."""

import tomllib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROWS = "sidecar/catalogue/providers.toml"
INSTALLED = "sidecar_stdio/sidecar/fixtures"


class FilesHook(BuildHookInterface[Any]):
    """Adds the exchanges to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add them to what the build backend collects."""
        if version == "editable":
            return
        for exchange in list_exchanges(Path(self.root)):
            build_data["force_include"][f"fixtures/{exchange}"] = f"{INSTALLED}/{exchange}"


def list_exchanges(root: Path) -> list[str]:
    """Return the exchanges of the named cases, as `wire/case`."""
    cases = tomllib.loads((root / ROWS).read_text(encoding="utf-8"))["replay"]["cases"].values()
    named = {case[key] for case in cases for key in ("exchange", "after_results") if key in case}
    return sorted(named)
