"""What a wheel holds beside the packages: parsed tables, and the exchanges that the cases of `replay` name."""

import importlib.util
import tomllib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROWS = "sidecar/catalogue/providers.toml"
INSTALLED = "sidecar_stdio/sidecar"


class FilesHook(BuildHookInterface[Any]):
    """Adds them to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add both to what the build backend collects."""
        if version == "editable":
            return
        for file in write_tables(Path(self.root)):
            build_data["force_include"][str(file)] = f"{INSTALLED}/catalogue/{file.name}"
        for exchange in list_exchanges(Path(self.root)):
            build_data["force_include"][f"fixtures/{exchange}"] = f"{INSTALLED}/fixtures/{exchange}"


def write_tables(root: Path) -> list[Path]:
    """Write the parsed tables into the folder of builds and return them."""
    spec = importlib.util.spec_from_file_location("tables", root / "packaging/wheel/tables.py")
    if spec is None or spec.loader is None:
        raise ImportError("packaging/wheel/tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    files: list[Path] = module.write_tables(root / "build/tables")
    return files


def list_exchanges(root: Path) -> list[str]:
    """Return the exchanges of the named cases, as `wire/case`."""
    row = tomllib.loads((root / ROWS).read_text(encoding="utf-8"))["replay"]
    cases = (*row["cases"].values(), *row["completion"]["cases"].values())
    named = {case[key] for case in cases for key in ("exchange", "after_results") if key in case}
    return sorted(named)
