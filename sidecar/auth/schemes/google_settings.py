"""The project and the location that nobody has given, as gcloud's configuration and the credentials know them.

What a user has named himself goes before gcloud's active configuration, and that before the
login and the metadata server that are found in their usual places. Sources: google-auth 2.62 `_default.py`,
`_cloud_sdk.py` and `external_account.py`, which ask the program `gcloud` where we read its files;
`gcloud topic configurations` and `gcloud config` for those; read 2026-11.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import anyio
import anyio.to_thread
import msgspec

from sidecar.auth.authorize import Lookup
from sidecar.auth.schemes.google_files import MAX_FILE_BYTES, Source, folders, read
from sidecar.auth.schemes.google_files import find as find_credentials
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest
from sidecar.core.json_values import parse_json
from sidecar.core.secret import Secret

REMEMBER_SECONDS = 30.0
"""How long what a server has said of a project is good."""

RESOURCE_MANAGER = "https://cloudresourcemanager.googleapis.com/v1/projects/"


class Servers(NamedTuple):
    """What is asked of others; an answer has `status` and `data`."""

    token: Callable[[Source], Awaitable[Secret]]
    get: Callable[[HttpRequest], Awaitable[Any]]
    metadata: Callable[[str, str], Awaitable[Any]]
    """Of a metadata server's host, and a path there."""


class _Remembered(msgspec.Struct, frozen=True):
    source: tuple[str, str, int, str]
    project: str | None
    until: float


async def find(lookup: Lookup, servers: Servers) -> dict[str, str]:
    """Return what is known of `project` and `location`, where they are lacking.

    Raises: SidecarError when credentials that must be asked cannot be used, or a server is out of reach.
    """
    credential = lookup.credential
    if credential is not None and credential.kind == "key":
        # A key has its project in itself.
        return {}
    configured = await anyio.to_thread.run_sync(gcloud, lookup.env, abandon_on_cancel=True)
    location = configured.get("ai/region")
    found = {"location": location} if location else {}
    if "project" in lookup.lacking and (project := await _project(lookup, configured.get("core/project"), servers)):
        found["project"] = project
    return found


async def _project(lookup: Lookup, configured: str | None, servers: Servers) -> str | None:
    credential = lookup.credential
    if credential is not None and credential.kind == "token":
        # Whose it is does not show.
        return configured
    try:
        source = await find_credentials(lookup.env, lookup.own, credential)
    except SidecarError:
        return configured
    if configured and not source.named:
        return configured
    return await _of_source(lookup, source, servers) or configured


async def _of_source(lookup: Lookup, source: Source, servers: Servers) -> str | None:
    if source.host:
        return await _remembered(lookup, source, lambda: _said(servers, source.host))
    info = await read(source)
    project, number = project_of(info), number_of(info)
    if project is None and number is not None:
        project = await _remembered(lookup, source, lambda: _called(source, number, servers))
    return project or account_project_of(info)


# --- gcloud's configuration ------------------------------------------------------------------

PROPERTIES = {
    "core/project": "CLOUDSDK_CORE_PROJECT",
    "ai/region": "CLOUDSDK_AI_REGION",
}
"""Section and name in gcloud's configuration, and the variable that goes before it. `compute/region` is where machines
run: many models are to be had elsewhere only."""

_CONFIGURATION = re.compile(r"[a-z][-a-z0-9]{0,63}")
"""The name of a configuration; gcloud takes no other, and ours must not leave its folder."""


def gcloud(env: Mapping[str, str]) -> dict[str, str]:
    """Return what gcloud's active configuration says of PROPERTIES; reads files."""
    import configparser

    said = {name: value for name, variable in PROPERTIES.items() if (value := env.get(variable))}
    for folder in folders(env):
        active = env.get("CLOUDSDK_ACTIVE_CONFIG_NAME") or _text(f"{folder}/active_config").strip() or "default"
        if not _CONFIGURATION.fullmatch(active):
            continue
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(_text(f"{folder}/configurations/config_{active}"))
        except configparser.Error:
            # gcloud itself says what is wrong with it.
            continue
        for name in PROPERTIES:
            if value := parser.get(*name.split("/"), fallback="").strip():
                said.setdefault(name, value)
    return said


def _text(file: str) -> str:
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


def project_of(info: Mapping[str, Any]) -> str | None:
    """Return the project that a document of credentials says itself: the account's own, or who pays for a user."""
    return _word(info, "project_id") or _word(info, "quota_project_id")


def account_project_of(info: Mapping[str, Any]) -> str | None:
    """Return the project of the service account that is impersonated."""
    account = _ACCOUNT.search(_word(info, "service_account_impersonation_url") or "")
    return account[1] if account else None


def number_of(info: Mapping[str, Any]) -> str | None:
    """Return the number of the project that a pool of identities is in, or that pays for one of a workforce."""
    if info.get("type") != "external_account":
        return None
    pool = _POOL.search(_word(info, "audience") or "")
    return pool[1] if pool else _word(info, "workforce_pool_user_project")


def _word(info: Mapping[str, Any], name: str) -> str | None:
    value = info.get(name)
    return value if isinstance(value, str) and value else None


# --- servers ---------------------------------------------------------------------------------


async def _remembered(lookup: Lookup, source: Source, ask: Callable[[], Awaitable[str | None]]) -> str | None:
    """Return what *ask* returns, or has returned a while ago for the same source."""
    known: _Remembered | None = lookup.sessions.get(__name__)
    if known is None or known.source != source.key or anyio.current_time() >= known.until:
        known = _Remembered(source.key, await ask(), anyio.current_time() + REMEMBER_SECONDS)
        lookup.sessions[__name__] = known
    return known.project


async def _said(servers: Servers, host: str) -> str | None:
    """Return the project that a metadata server says, None where it knows of none."""
    answer = await servers.metadata(host, "project/project-id")
    return answer.data.decode(errors="replace").strip() or None if answer.status == 200 else None


async def _called(source: Source, number: str, servers: Servers) -> str | None:
    """Return the name of the project of that *number*, None where the identity may not see it."""
    bearer = await servers.token(source)
    headers = {"authorization": f"Bearer {bearer.reveal()}"}
    answer = await servers.get(
        HttpRequest(method="GET", url=RESOURCE_MANAGER + quote(number, safe=""), headers=headers)
    )
    document = parse_json(answer.data) if answer.status == 200 else None
    return _word(document, "projectId") if isinstance(document, dict) else None
