"""What is stored of a credential, as the file and the keychain hold it."""

import msgspec
import pytest

from sidecar.auth.logins import stored
from sidecar.auth.logins.stored import Secrets, Stored

LOGIN = Stored(
    kind="token",
    method="device",
    server="https://github.com",
    saved_at="2026-11-20T12:00:00+00:00",
    account="octocat",
    secrets=Secrets("CANARY-value", "CANARY-renewal"),
)


def test_what_is_written_is_read_again() -> None:
    entries = {"copilot": LOGIN}
    assert stored.decode_entries(stored.encode_entries(entries)) == entries


def test_a_file_of_the_first_version_is_read() -> None:
    data = (
        b'{"version":1,"entries":{"openai":{"kind":"key","method":"api_key","home":"built-in",'
        b'"saved_at":"2026-11-20T12:00:00+00:00","secrets":{"value":"CANARY"}}}}'
    )
    entries = stored.decode_entries(data)
    assert entries is not None
    assert (entries["openai"].server, entries["openai"].storage) == ("built-in", "file")


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"version":2,"entries":{}}', b'{"version":1}', b"[" * 100_000, b"\xff"]
)
def test_content_that_makes_no_sense_is_none(data: bytes) -> None:
    assert stored.decode_entries(data) is None


def test_without_a_file_nothing_is_stored() -> None:
    assert stored.decode_entries(None) == {}


def test_the_keychain_holds_the_secrets_and_nothing_else() -> None:
    bare = msgspec.structs.replace(LOGIN, secrets=None)
    text = stored.encode_secrets(LOGIN)
    assert msgspec.json.decode(text) == {"value": "CANARY-value", "renewal": "CANARY-renewal"}
    assert stored.decode_secrets(bare, text) == LOGIN
    assert stored.decode_secrets(bare, None) is bare
    assert stored.decode_secrets(bare, "changed by hand") is bare


def test_a_secret_says_where_it_comes_from_and_to_which_server_it_belongs() -> None:
    secret = stored.read_secret(LOGIN)
    assert secret is not None
    assert (secret.reveal(), secret.source, secret.kind) == ("CANARY-value", "store", "token")
    assert stored.read_secret(msgspec.structs.replace(LOGIN, secrets=None)) is None
    assert stored.read_secret(msgspec.structs.replace(LOGIN, secrets=Secrets("a b"))) is None
    assert "CANARY" not in repr(LOGIN)


def test_two_logins_are_told_apart_by_when_they_were_stored() -> None:
    later = msgspec.structs.replace(LOGIN, saved_at="2026-11-20T12:00:01+00:00")
    assert stored.is_another(later, LOGIN)
    assert not stored.is_another(LOGIN, LOGIN)
    assert not stored.is_another(None, LOGIN)
    assert not stored.is_another(LOGIN, None)
