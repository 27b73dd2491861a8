"""The system's keychain: what it keeps, and every way in which it does not work."""

import threading
from collections.abc import Callable

import keyring
import keyring.errors
import pytest

from sidecar.auth.logins import store_keychain
from sidecar.auth.logins.store_keychain import Keychain, UnusableError


class Backend:
    """A keychain, which works unless it is told otherwise."""

    def __init__(
        self,
        *,
        priority: float = 5.0,
        forgets: bool = False,
        get: Exception | None = None,
        put: Exception | None = None,
    ) -> None:
        """Forget what is kept, or raise on reading or on writing."""
        self.priority = priority
        self.kept: dict[tuple[str, str], str] = {}
        self._forgets = forgets
        self._get = get
        self._put = put

    def get_password(self, service: str, name: str) -> str | None:
        if self._get:
            raise self._get
        return self.kept.get((service, name))

    def set_password(self, service: str, name: str, secret: str) -> None:
        if self._put:
            raise self._put
        if not self._forgets:
            self.kept[service, name] = secret

    def delete_password(self, service: str, name: str) -> None:
        del self.kept[service, name]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Backend], Keychain]:
    """Return what makes a backend that of the system."""

    def install(backend: Backend) -> Keychain:
        monkeypatch.setattr(keyring, "get_keyring", lambda: backend)
        return Keychain()

    return install


async def test_what_is_kept_is_found_until_it_is_deleted(install: Callable[[Backend], Keychain]) -> None:
    backend = Backend()
    keychain = install(backend)
    await keychain.set("openai", "CANARY")
    assert backend.kept == {("sidecar", "openai"): "CANARY"}
    assert await keychain.get("openai") == "CANARY"
    await keychain.delete("openai")
    await keychain.delete("openai")
    assert await keychain.get("openai") is None


BACKENDS = {
    "none, or a plain file": Backend(priority=0.5),
    "forgetful": Backend(forgets=True),
    "locked": Backend(get=keyring.errors.KeyringLocked()),
    "full": Backend(put=keyring.errors.PasswordSetError()),
    "not set up": Backend(put=RuntimeError()),
}


@pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
async def test_a_keychain_that_does_not_keep_is_unusable(
    install: Callable[[Backend], Keychain], backend: Backend
) -> None:
    keychain = install(backend)
    for _ in range(2):
        with pytest.raises(UnusableError):
            await keychain.set("openai", "CANARY")


async def test_a_keychain_that_hangs_is_given_up_and_not_asked_again_meanwhile(
    install: Callable[[Backend], Keychain], monkeypatch: pytest.MonkeyPatch
) -> None:
    release, asked = threading.Event(), list[str]()

    class Hanging(Backend):
        def get_password(self, service: str, name: str) -> str | None:
            asked.append(name)
            release.wait(30)
            return super().get_password(service, name)

    keychain = install(Hanging())
    monkeypatch.setattr(store_keychain, "LIMIT_SECONDS", 0.05)
    try:
        for _ in range(3):
            with pytest.raises(UnusableError):
                await keychain.get("openai")
        assert asked == ["openai"]
    finally:
        release.set()
