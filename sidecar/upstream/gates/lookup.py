"""Which gate a question goes through, and which of the user's keys goes first.

Must not know what is asked.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from sidecar.core import url_policy
from sidecar.core.secret import Secret
from sidecar.upstream.gates.gate import CONCURRENCY, QUEUE_LENGTH, Gate, GateState
from sidecar.upstream.gates.retry import MAX_ATTEMPTS

if TYPE_CHECKING:
    from sidecar.providers.values import Target

MAX_GATES = 1000
"""How many gates are kept. Above that, idle ones are dropped."""

GateKey = tuple[str, str, int]
"""The owner, the base address and the hash of the credential."""


class GateTable:
    """The gates of the process."""

    def __init__(self, limits: Mapping[str, Any]) -> None:
        """Take the user's *limits*, as `Config` has them."""
        self._limits = limits
        self._gates: dict[GateKey, Gate] = {}

    def find(self, target: "Target") -> Gate:
        """Return the gate of a target's provider, address and credential."""
        if target.row.transport == "replay":
            # What one recording says must not hold up the next.
            return Gate()
        provider = target.route.provider
        key = (provider, target.route.base_url, _hash_credential(target))
        gate = self._gates.get(key)
        if gate is None:
            limits = self._limits
            gate = Gate(
                read_limit(limits, provider, "concurrency", CONCURRENCY),
                read_limit(limits, provider, "queue_length", QUEUE_LENGTH),
                read_limit(limits, provider, "requests_per_minute", 0),
                read_limit(limits, provider, "tokens_per_minute", 0),
            )
            self._add(key, gate)
        return gate

    def find_side_gate(self, kind: str, target: "Target") -> Gate:
        """Return the gate for questions of *kind* to a target's provider, which its limits for chats do not concern."""
        key = (f"{target.route.provider} ({kind})", target.list_base_url, _hash_credential(target))
        return self._gates.get(key) or self._add(key, Gate())

    def find_server_gate(self, kind: str, url: str, secrets: tuple[Secret, ...] = ()) -> Gate:
        """Return the gate for questions of *kind* to the server of *url*, which is no provider.

        Whoever asks with other *secrets* has another one: a limit or a refusal is that of a credential.
        """
        try:
            origin = url_policy.get_origin(url)
        except ValueError:
            # The HTTP client refuses such an address.
            origin = url
        key = (f"({kind})", origin, hash(tuple(each.reveal() for each in secrets)))
        return self._gates.get(key) or self._add(key, Gate())

    def pick_origin(self, origin: "Target", keys: tuple[Secret, ...]) -> "Target":
        """Return *origin* with the one of the user's *keys* whose gate lets it in first."""
        if not keys or keys == (origin.credential,):
            return origin
        origins = [msgspec.structs.replace(origin, credential=key) for key in keys]
        best = min(origins, key=lambda each: self.find(each).rank(origin.route.model))
        return origin if best.credential is origin.credential else best

    def list_states(self, provider: str) -> list[GateState]:
        """Return the states of the gates of *provider*'s chats."""
        return [gate.state for (owner, *_), gate in self._gates.items() if owner == provider]

    def _add(self, new_key: GateKey, new_gate: Gate) -> Gate:
        if len(self._gates) >= MAX_GATES:
            self._gates = {key: gate for key, gate in self._gates.items() if not gate.is_idle}
        self._gates[new_key] = new_gate
        return new_gate


def _hash_credential(target: "Target") -> int:
    return hash(target.credential.reveal() if target.credential else None)


def read_limit(limits: Mapping[str, Any], provider: str | None, name: str, default: int) -> int:
    """Return the user's limit *name* for *provider*, else for all providers, else *default*."""
    own = limits.get("providers", {}).get(provider, {}) if provider else {}
    value: int = own.get(name) or limits.get(name) or default
    return value


def read_max_attempts(limits: Mapping[str, Any], provider: str | None, requested: int | None = None) -> int:
    """Return how often a question may be asked while its failures are transient."""
    return requested or read_limit(limits, provider, "max_attempts", MAX_ATTEMPTS)
