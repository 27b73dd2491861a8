"""What is stored of a credential, and the document that holds all of them. [pure]"""

from typing import Literal

import msgspec

from protocol.logins import Method, Storage
from sidecar.core.errors import SidecarError
from sidecar.core.secret import Kind, Secret, parse_secret


class Secrets(msgspec.Struct, frozen=True, omit_defaults=True):
    """What nobody may see; its `repr` is masked."""

    value: str
    renewal: str | None = None
    """Single-use refresh token for replacing an expired `value`."""

    def __repr__(self) -> str:
        return "Secrets('***')"


class Stored(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One credential."""

    kind: Kind
    method: Method
    server: str = msgspec.field(name="home")
    """To which it belongs, as `sidecar.providers.credential_rules.describe_server` says it: it goes nowhere else."""
    saved_at: str
    account: str | None = None
    expires_at: str | None = None
    settings: dict[str, str] = {}
    """What else the provider needs, and the user has given with the key."""
    storage: Storage = "file"
    is_in_keychain_too: bool = False
    """Whether a keychain that did not answer still has an older secret."""
    secrets: Secrets | None = None
    """In the file, None: the keychain has them. In memory, None: the keychain does not give them."""


Entries = dict[str, Stored]
"""Credentials by provider."""


class _Document(msgspec.Struct, frozen=True):
    """The content of the file."""

    version: Literal[1]
    entries: Entries


_decoder = msgspec.json.Decoder(_Document)


def decode_entries(data: bytes | None) -> Entries | None:
    """Return the credentials in the content of a file: none if there is no file; None if it is corrupt."""
    if data is None:
        return {}
    try:
        return _decoder.decode(data).entries
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def encode_entries(entries: Entries) -> bytes:
    """Return the content of the file."""
    return msgspec.json.format(msgspec.json.encode(_Document(1, entries)), indent=1)


def encode_secrets(stored: Stored) -> str:
    """Return the secrets of *stored* as the keychain keeps them."""
    return msgspec.json.encode(stored.secrets).decode()


def decode_secrets(stored: Stored, text: str | None) -> Stored:
    """Return *stored* with the secrets that the keychain keeps as *text*; as it is, if they were removed or changed."""
    try:
        secrets = msgspec.json.decode(text or "", type=Secrets)
    except msgspec.MsgspecError:
        return stored
    return msgspec.structs.replace(stored, secrets=secrets)


def read_secret(stored: Stored) -> Secret | None:
    """Return the credential that a request is sent with, None when its secret cannot be read."""
    if stored.secrets is None:
        return None
    try:
        found = parse_secret(stored.secrets.value, "store", "store", stored.kind)
    except SidecarError:
        return None
    return Secret(found.reveal(), "store", stored.kind, stored.server)


def is_another(stored: Stored | None, than: Stored | None) -> bool:
    """Return whether *stored* is a later or an earlier login *than* that one; None is no other."""
    return stored is not None and than is not None and stored.saved_at != than.saved_at
