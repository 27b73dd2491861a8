"""Where Google Cloud's credentials are found: a document, a file, or a metadata server; and the library's objects.

The places and their order are those of google-auth 2.62 (`_default.py`), read 2026-11: the file that
GOOGLE_APPLICATION_CREDENTIALS names, the file of `gcloud auth application-default login`, and the metadata server,
which is asked only where the environment says that there is one. Must not know tokens.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from sidecar.auth.extras import require_extra
from sidecar.core import url_policy
from sidecar.core.errors import SidecarError
from sidecar.core.json_values import parse_json
from sidecar.core.secret import Secret

SCOPE = "https://www.googleapis.com/auth/cloud-platform"

MAX_FILE_BYTES = 1024 * 1024

LOGIN_HINT = "Run `gcloud auth application-default login`."

VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One place: a document, a file in the state that `stamp` tells, or a metadata server."""

    document: Secret | None = None
    file: str = ""
    stamp: int = 0
    host: str = ""
    is_named: bool = False
    """Whether the user has named it; otherwise it was found in its usual place."""
    hint: str = LOGIN_HINT

    @property
    def is_brought(self) -> bool:
        """Whether a request has brought it, or a login that a request asked for."""
        return self.document is not None and self.document.source in ("request", "store")

    @property
    def place(self) -> tuple[str, int, str]:
        """What tells it from others, beside its document."""
        return self.file, self.stamp, self.host


# --- where they are --------------------------------------------------------------------------

METADATA_HOSTS = ("GCE_METADATA_HOST", "GCE_METADATA_IP", "GCE_METADATA_ROOT")
"""Variables that name a metadata server."""

METADATA_SIGNS = ("K_SERVICE", "CLOUD_RUN_JOB", "GAE_SERVICE", "FUNCTION_TARGET")
"""Variables of places that have one under its usual name."""


async def find(env: Mapping[str, str], own: Mapping[str, Any], credential: Secret | None) -> Source:
    """Return where the credentials are: *credential* itself where it is a document, else a place of this machine.

    *own* are the provider's settings, of which `credentials_file` is the user's alone.

    Raises: SidecarError `auth_required` when there are none.
    """
    if credential is not None:
        return Source(document=credential, is_named=True, hint="Check the service account's JSON document.")
    if file := own.get("credentials_file"):
        if not Path(file).is_absolute():
            # What the working directory has there is not the user's choice.
            raise make_required_error("`credentials_file` is no absolute path.", "Set it to an absolute path.")
        return await _find_named(file, "`credentials_file`")
    if named := env.get(VARIABLE):
        return await _find_named(named, VARIABLE)
    for folder in list_folders(env):
        file = f"{folder}/application_default_credentials.json"
        if (stamp := await _read_stamp(file)) is not None:
            return Source(file=file, stamp=stamp)
    if env.get("NO_GCE_CHECK") != "true":
        if host := next(filter(None, map(env.get, METADATA_HOSTS)), None):
            return Source(host=host)
        if any(env.get(sign) for sign in METADATA_SIGNS):
            return Source(host="metadata.google.internal")
    raise make_required_error("There are no Google Cloud credentials on this machine.", LOGIN_HINT)


async def _find_named(name: str, where: str) -> Source:
    if name.lstrip().startswith("{"):
        # Where there are no files, such as in a build, the document itself is put there.
        document = Secret(name, "environment", "document")
        return Source(document=document, is_named=True, hint=f"Check the document in {where}.")
    hint = f"Check the file that {where} names."
    if (stamp := await _read_stamp(name)) is None:
        raise make_required_error(f"There is no credentials file where {where} says.", hint)
    return Source(file=name, stamp=stamp, is_named=True, hint=hint)


def list_folders(env: Mapping[str, str]) -> list[str]:
    """Return the folders of gcloud's configuration, the one that is named or the usual one of the system."""
    if named := env.get("CLOUDSDK_CONFIG"):
        return [named]
    usual = (("APPDATA", "gcloud"), ("HOME", ".config/gcloud"))
    return [f"{root}/{rest}" for variable, rest in usual if (root := env.get(variable))]


async def _read_stamp(file: str) -> int | None:
    """Return what changes when *file* does, None when there is no such file."""
    try:
        return (await anyio.Path(file).stat()).st_mtime_ns
    except (OSError, ValueError):
        return None


def make_required_error(message: str, hint: str) -> SidecarError:
    """Return the failure that other credentials mend."""
    return SidecarError("auth_required", message, hint=hint)


# --- what is in them -------------------------------------------------------------------------

FACTORIES: dict[str, tuple[str, str]] = {
    "service_account": ("google.oauth2.service_account", "from_service_account_info"),
    "impersonated_service_account": (
        "google.auth.impersonated_credentials",
        "from_impersonated_service_account_info",
    ),
    "external_account": ("google.auth.identity_pool", "from_info"),
    "external_account_authorized_user": ("google.auth.external_account_authorized_user", "from_info"),
    "authorized_user": ("google.oauth2.credentials", "from_authorized_user_info"),
}
"""By the file's `type`: the module, and what of its `Credentials` reads the file."""

_AWS = ("google.auth.aws", "from_info")
_AWS_SUBJECT = "urn:ietf:params:aws:token-type:aws4_request"

_SCOPED_BY_LOGIN = frozenset({"authorized_user", "external_account_authorized_user"})
"""Types whose scopes were settled when their user logged in."""

_SELF_CONTAINED = frozenset({"service_account", "authorized_user"})
"""Types that name no file and no server but the one that makes their tokens: all that a request may bring."""


async def read(source: Source) -> dict[str, Any]:
    """Return what the document or the file says.

    Raises: SidecarError `auth_required` when it is no JSON object.
    """
    if source.document is not None:
        content = source.document.reveal().encode()
    else:
        try:
            content = await anyio.Path(source.file).read_bytes()
        except OSError:
            raise make_required_error("The Google Cloud credentials file cannot be read.", source.hint) from None
    info = parse_json(content) if len(content) <= MAX_FILE_BYTES else None
    if not isinstance(info, dict):
        raise make_required_error("The Google Cloud credentials file is no JSON object.", source.hint)
    return info


async def load(source: Source) -> Any:
    """Return the library's credentials for *source*, a document or a file.

    Raises: SidecarError `auth_required` when they cannot be used.
    """
    info = await read(source)
    if source.is_brought:
        _check_brought(info, source.hint)
    return await anyio.to_thread.run_sync(_make_credentials, info, source.hint, abandon_on_cancel=True)


def _check_brought(info: dict[str, Any], hint: str) -> None:
    """Refuse what a request must not bring: it could name the user's files, and who gets their content."""
    if info.get("type") not in _SELF_CONTAINED:
        raise make_required_error(
            "A request may bring a service account's key or a user's login, and nothing else.", hint
        )
    uri = info.get("token_uri")
    if uri is not None:
        url_policy.check_base_url(uri if isinstance(uri, str) else "", "token_uri", private_network=False)


def _make_credentials(info: dict[str, Any], hint: str) -> Any:
    """Return the library's credentials for what a file holds; imports the library, in a worker thread."""
    kind = info.get("type")
    if not isinstance(kind, str) or kind not in FACTORIES:
        raise make_required_error("The Google Cloud credentials file is of no type that can be used.", hint)
    if _names_program(info) or _names_program(info.get("source_credentials")):
        raise make_required_error("The Google Cloud credentials file names a program to run, and none is run.", hint)
    require_extra("google", "google.auth")
    module, factory = _AWS if info.get("subject_token_type") == _AWS_SUBJECT else FACTORIES[kind]
    scopes = {} if kind in _SCOPED_BY_LOGIN else {"scopes": [SCOPE]}
    try:
        return getattr(importlib.import_module(module).Credentials, factory)(info, **scopes)
    except (load_exceptions().GoogleAuthError, ValueError, KeyError, TypeError, AttributeError):
        # What is wrong with it may be a part of the key, so it is not said.
        raise make_required_error("The Google Cloud credentials file is incomplete or malformed.", hint) from None


def _names_program(info: object) -> bool:
    source = info.get("credential_source") if isinstance(info, dict) else None
    return isinstance(source, dict) and "executable" in source


def load_exceptions() -> Any:
    """Return the library's exceptions."""
    return importlib.import_module("google.auth.exceptions")
