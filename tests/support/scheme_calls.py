"""What a scheme is called with, in process: targets of the providers' own tables, and a clock that can be moved."""

import time
from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from sidecar.auth import authorize, token_cache
from sidecar.auth.memory import Memory
from sidecar.auth.scheme import Call, Lookup
from sidecar.auth.token_cache import MIN_AGE_SECONDS
from sidecar.catalogue import provider_rows
from sidecar.core.errors import SidecarError
from sidecar.core.secret import Secret
from sidecar.providers.values import Target
from sidecar.wires.shared.types import Route
from tests.support.fake_exchange import FakeExchange

UNAUTHORIZED = SidecarError("auth_failed", "No.", provider_status=401)


class TokenClock:
    """Both clocks of the token cache; `pass_by` lets time pass on one of them or on both."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead = {"monotonic": 0.0, "time": 0.0}
        monkeypatch.setattr(token_cache, "time", self)

    def pass_by(self, seconds: float, *clocks: str) -> None:
        """Let *seconds* pass."""
        for name in clocks or self._ahead:
            self._ahead[name] += seconds

    def monotonic(self) -> float:
        """Return what `time.monotonic` does, later."""
        return time.monotonic() + self._ahead["monotonic"]

    def time(self) -> float:
        """Return what `time.time` does, later."""
        return time.time() + self._ahead["time"]


class Authorizer:
    """Authorizes requests of one provider, as the way to providers does."""

    def __init__(self, provider: str, exchange: FakeExchange, memory: Memory) -> None:
        self.provider = provider
        self.exchange = exchange
        self.memory = memory

    def make_call(
        self,
        env: Mapping[str, str] | None = None,
        credential: Secret | None = None,
        settings: dict[str, Any] | None = None,
        **more: Any,
    ) -> Call:
        """Return a call of the provider's scheme; *more* are fields of the call, or `base_url`."""
        row = provider_rows.read_providers()[self.provider]
        base_url = more.pop("base_url", None)
        target = Target(
            row=row,
            route=Route(
                provider=self.provider,
                wire=row.wire,
                model="m",
                base_url=base_url or row.address.base_url,
                settings=settings or {},
            ),
            credential=credential,
            list_base_url=base_url or row.address.base_url,
            env=env or {},
            has_custom_address=base_url is not None,
        )
        return Call(target=target, exchange=self.exchange, memory=self.memory, **more)

    def make_lookup(self, *lacking: str, env: Mapping[str, str], credential: Secret | None = None) -> Lookup:
        """Return a lookup of settings that are *lacking*."""
        return Lookup(
            provider=self.provider,
            names=frozenset(lacking),
            settings={},
            credential=credential,
            env=env,
            exchange=self.exchange,
            memory=self.memory,
        )


async def get_bearer(call: Call) -> str:
    """Return the token that the call's request is sent with."""
    return (await authorize.make_headers(call)).headers["authorization"].removeprefix("Bearer ")


async def get_failure(call: Call) -> SidecarError:
    """Return what keeps the call from being authorized."""
    with pytest.raises(SidecarError) as caught:
        await authorize.make_headers(call)
    return caught.value


async def gather_bearers(call: Call, count: int) -> list[str]:
    """Return the tokens of *count* requests that are authorized at once."""
    bearers: list[str] = []

    async def ask() -> None:
        bearers.append(await get_bearer(call))

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(ask)
    return bearers


__all__ = [
    "MIN_AGE_SECONDS",
    "UNAUTHORIZED",
    "Authorizer",
    "TokenClock",
    "gather_bearers",
    "get_bearer",
    "get_failure",
]
