"""The region that a profile names in AWS's files; blocks.

Read as botocore does (1.44.5 `session.py`, `configloader.py`, whose import costs more than the files): what a profile
has in the file of credentials goes before what it has in that of configurations.
"""

from collections.abc import Mapping
from pathlib import Path

MAX_FILE_BYTES = 1024 * 1024


def read_region(env: Mapping[str, str], profile: str | None) -> dict[str, str]:
    """Return the setting `region` that *profile*, or else the default one, has; nothing where it has none."""
    name, home = profile or "default", env.get("HOME") or env.get("USERPROFILE") or ""
    files = (("AWS_SHARED_CREDENTIALS_FILE", "credentials", (name,)), ("AWS_CONFIG_FILE", "config", _list_names(name)))
    for variable, usual, sections in files:
        if file := env.get(variable) or (home and f"{home}/.aws/{usual}"):
            said = _read_sections(file.replace("~", home, 1) if file.startswith("~/") else file)
            for section in sections:
                if region := said.get(section, {}).get("region"):
                    return {"region": region}
    return {}


def _list_names(profile: str) -> tuple[str, ...]:
    """Return the sections that *profile* may have in the file of configurations."""
    named = (f"profile {profile}", f'profile "{profile}"')
    return (*named, profile) if profile == "default" else named


def _read_sections(file: str) -> Mapping[str, Mapping[str, str]]:
    """Return the sections of a file, none of one that cannot be read: the chain says what is wrong with it."""
    import configparser

    parser = configparser.RawConfigParser()
    try:
        with Path(file).open("rb") as opened:
            parser.read_string(opened.read(MAX_FILE_BYTES).decode())
    except (OSError, ValueError, configparser.Error):
        return {}
    return {name: dict(parser[name]) for name in parser.sections()}
