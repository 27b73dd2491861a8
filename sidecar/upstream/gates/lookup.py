"""Which gate a question goes through, and which of the user's keys goes first.

Must not know what is asked.
"""

import msgspec

from sidecar.core import url_policy
from sidecar.core.secret import Secret
from sidecar.providers.values import Target
from sidecar.upstream.context import Upstream
from sidecar.upstream.gates.gate import CONCURRENCY, QUEUE_LENGTH, Gate
from sidecar.upstream.gates.retry import MAX_ATTEMPTS

MAX_GATES = 1000
"""Gates that are remembered although nobody waits at them and nothing keeps anybody out."""

GateKey = tuple[str, str, int]


def find_gate(up: Upstream, target: Target) -> Gate:
    """Return the gate of a target's provider, address and credential."""
    secret = target.credential.reveal() if target.credential else None
    provider = target.route.provider
    key = (provider, target.route.base_url, hash(secret))
    gate = up.gates.get(key)
    if gate is None:
        gate = _remember(
            up,
            key,
            Gate(
                read_limit(up, provider, "concurrency", CONCURRENCY),
                read_limit(up, provider, "queue_length", QUEUE_LENGTH),
                read_limit(up, provider, "requests_per_minute", 0),
                read_limit(up, provider, "tokens_per_minute", 0),
            ),
        )
    return gate


def find_side_gate(up: Upstream, kind: str, target: Target) -> Gate:
    """Return the gate of questions of *kind* beside a target's chats, whose limits are none of theirs."""
    secret = target.credential.reveal() if target.credential else None
    key = (f"{target.route.provider} ({kind})", target.list_base_url, hash(secret))
    return up.gates.get(key) or _remember(up, key, Gate())


def find_gate_of_server(up: Upstream, kind: str, url: str) -> Gate:
    """Return the gate of a server that is no provider: one that gives tokens, say, or a catalogue."""
    key = (f"({kind})", url_policy.get_origin(url), 0)
    return up.gates.get(key) or _remember(up, key, Gate())


def _remember(up: Upstream, key: GateKey, gate: Gate) -> Gate:
    if len(up.gates) >= MAX_GATES:
        up.gates = {each: known for each, known in up.gates.items() if not known.idle}
    up.gates[key] = gate
    return gate


def read_limit(up: Upstream, provider: str | None, name: str, default: int) -> int:
    """Return the user's limit *name* for *provider*, else for all providers, else *default*."""
    limits = up.config.limits
    own = limits.get("providers", {}).get(provider, {}) if provider else {}
    value: int = own.get(name) or limits.get(name) or default
    return value


def read_max_attempts(up: Upstream, provider: str | None, wanted: int | None = None) -> int:
    """Return how often a question is asked at most while its failures are transient."""
    return wanted or read_limit(up, provider, "max_attempts", MAX_ATTEMPTS)


def pick_origin(up: Upstream, origin: Target, keys: tuple[Secret, ...]) -> Target:
    """Return *origin* with that of the user's *keys* whose gate lets it in first."""
    if not keys or keys == (origin.credential,):
        return origin
    origins = [msgspec.structs.replace(origin, credential=key) for key in keys]
    best = min(origins, key=lambda each: find_gate(up, each).rank(origin.route.model))
    return origin if best.credential is origin.credential else best
