"""The project and the location that nobody has given, as gcloud's configuration and the credentials know them.

What a user has named himself goes before gcloud's active configuration, and that before the login and the metadata
server that are found in their usual places.
Sources: google-auth 2.62 `_default.py`, `_cloud_sdk.py` and `external_account.py`, which ask the program `gcloud` where
we read its files; `gcloud topic configurations` and `gcloud config` for those; read 2026-11.
"""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio.to_thread

from sidecar.auth.scheme import Lookup
from sidecar.auth.schemes import google_files, google_tokens
from sidecar.auth.schemes.google_files import MAX_FILE_BYTES, Source, list_folders
from sidecar.auth.token_cache import Key, Mint, Minted, Terms, fingerprint
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest

REMEMBER_SECONDS = 30.0
"""How long what a server has said of a project is valid."""

TERMS = Terms(min_use_seconds=REMEMBER_SECONDS)

RESOURCE_MANAGER = "https://cloudresourcemanager.googleapis.com/v1/projects/"


async def find(lookup: Lookup) -> dict[str, str]:
    """Return what is known of `project` and `location`, where they are lacking.

    Raises: SidecarError when credentials that must be asked cannot be used, or a server is out of reach.
    """
    credential = lookup.credential
    if credential is not None and credential.kind == "key":
        # A key has its project in itself.
        return {}
    configured = await anyio.to_thread.run_sync(read_gcloud, lookup.env, abandon_on_cancel=True)
    location = configured.get("ai/region")
    found = {"location": location} if location else {}
    if "project" in lookup.names and (project := await _find_project(lookup, configured.get("core/project"))):
        found["project"] = project
    return found


async def _find_project(lookup: Lookup, configured: str | None) -> str | None:
    credential = lookup.credential
    if credential is not None and credential.kind == "token":
        # Whose it is does not show.
        return configured
    try:
        source = await google_files.find(lookup.env, lookup.settings, credential)
    except SidecarError:
        return configured
    if configured and not source.is_named:
        return configured
    return await _find_project_of(lookup, source) or configured


async def _find_project_of(lookup: Lookup, source: Source) -> str | None:
    if source.host:
        return await _remember(lookup, source, partial(_ask_metadata, lookup, source))
    info = await google_files.read(source)
    project, number = read_project(info), read_project_number(info)
    if project is None and number is not None:
        project = await _remember(lookup, source, partial(_ask_name, lookup, source, number))
    return project or read_account_project(info)


async def _remember(lookup: Lookup, source: Source, ask: Mint[str | None]) -> str | None:
    """Return what *ask* returns, or has returned a while ago for the same source."""
    key = Key("google_settings", lookup.provider, fingerprint(source.document), source.place)
    return await lookup.memory.tokens.get(key, ask, TERMS)


async def _ask_metadata(lookup: Lookup, source: Source) -> Minted[str | None]:
    """Return the project that the metadata server says, None where it knows of none."""
    answer = await google_tokens.ask_metadata(lookup.exchange, source.host, "project/project-id")
    project = answer.body.decode(errors="replace").strip() if answer.status == 200 else ""
    return Minted(project or None, REMEMBER_SECONDS)


async def _ask_name(lookup: Lookup, source: Source, number: str) -> Minted[str | None]:
    """Return the name of the project of that *number*, None where the identity may not see it."""
    token = await google_tokens.get_token(lookup, lookup.provider, source)
    headers = {"authorization": f"Bearer {token.reveal()}"}
    request = HttpRequest(method="GET", url=RESOURCE_MANAGER + quote(number, safe=""), headers=headers)
    answer = await lookup.exchange(google_tokens.make_question(request, secrets=(token,)))
    said = answer.read_object() if answer.status == 200 else {}
    return Minted(_read_word(said, "projectId"), REMEMBER_SECONDS)


# --- gcloud's configuration ------------------------------------------------------------------

PROPERTIES = {
    "core/project": "CLOUDSDK_CORE_PROJECT",
    "ai/region": "CLOUDSDK_AI_REGION",
}
"""Section and name in gcloud's configuration, and the variable that goes before it. `compute/region` is where machines
run: many models are offered elsewhere only."""

_CONFIGURATION = re.compile(r"[a-z][-a-z0-9]{0,63}")
"""The name of a configuration; gcloud takes no other, and ours must not leave its folder."""


def read_gcloud(env: Mapping[str, str]) -> dict[str, str]:
    """Return what gcloud's active configuration says of PROPERTIES; reads files."""
    import configparser

    said = {name: value for name, variable in PROPERTIES.items() if (value := env.get(variable))}
    for folder in list_folders(env):
        active = env.get("CLOUDSDK_ACTIVE_CONFIG_NAME") or _read_text(f"{folder}/active_config").strip() or "default"
        if not _CONFIGURATION.fullmatch(active):
            continue
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(_read_text(f"{folder}/configurations/config_{active}"))
        except configparser.Error:
            # gcloud itself says what is wrong with it.
            continue
        for name in PROPERTIES:
            if value := parser.get(*name.split("/"), fallback="").strip():
                said.setdefault(name, value)
    return said


def _read_text(file: str) -> str:
    try:
        with Path(file).open("rb") as opened:
            return opened.read(MAX_FILE_BYTES).decode()
    except (OSError, ValueError):
        return ""


# --- a document of credentials ---------------------------------------------------------------

_ACCOUNT = re.compile(r"@([a-z][a-z0-9-]{1,62})\.iam\.gserviceaccount\.com")
"""The project in a service account's address."""

_POOL = re.compile(r"/projects/(\d{1,20})/")
"""The number of the project in the address of a pool of workloads."""


def read_project(info: Mapping[str, Any]) -> str | None:
    """Return the project that a document of credentials says itself: the account's own, or who pays for a user."""
    return _read_word(info, "project_id") or _read_word(info, "quota_project_id")


def read_account_project(info: Mapping[str, Any]) -> str | None:
    """Return the project of the service account that is impersonated."""
    account = _ACCOUNT.search(_read_word(info, "service_account_impersonation_url") or "")
    return account[1] if account else None


def read_project_number(info: Mapping[str, Any]) -> str | None:
    """Return the number of the project that a pool of identities is in, or that pays for one of a workforce."""
    if info.get("type") != "external_account":
        return None
    pool = _POOL.search(_read_word(info, "audience") or "")
    return pool[1] if pool else _read_word(info, "workforce_pool_user_project")


def _read_word(info: Mapping[str, Any], name: str) -> str | None:
    value = info.get(name)
    return value if isinstance(value, str) and value else None
