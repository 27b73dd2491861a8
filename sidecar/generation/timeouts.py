"""How long a chat may take: in total, and in each of its phases.

Knows the defaults, and which models and providers get more. Must not know clocks, wires or HTTP.
"""

import msgspec

from protocol.options import Timeouts
from sidecar.core.http import CONNECT_SECONDS, FIRST_BYTE_SECONDS, IDLE_SECONDS, HttpTimeouts
from sidecar.core.request_state import TOTAL_MS, RequestState
from sidecar.providers.values import Target


class ChatTimeouts(msgspec.Struct, frozen=True, kw_only=True):
    """The longest that each phase of a chat may take, in seconds."""

    connect_seconds: float
    """For the TCP handshake, and again for that of TLS."""
    first_byte_seconds: float
    """From the request, connecting included, to the head of the reply."""
    idle_seconds: float
    """Between two pieces of the body, whatever they contain."""
    progress_seconds: float
    """Without content, whatever else arrives."""
    total_seconds: float
    """From the request's line to its terminal line, waits and further attempts included."""

    @property
    def for_http(self) -> HttpTimeouts:
        """The timeouts that the HTTP client applies."""
        return HttpTimeouts(
            connect_seconds=self.connect_seconds,
            first_byte_seconds=self.first_byte_seconds,
            idle_seconds=self.idle_seconds,
        )


DEFAULT_TIMEOUTS = ChatTimeouts(
    connect_seconds=CONNECT_SECONDS,
    first_byte_seconds=FIRST_BYTE_SECONDS,
    idle_seconds=IDLE_SECONDS,
    progress_seconds=300.0,
    total_seconds=TOTAL_MS / 1000,
)

LONG_TIMEOUTS = ChatTimeouts(
    connect_seconds=CONNECT_SECONDS,
    first_byte_seconds=600.0,
    idle_seconds=600.0,
    progress_seconds=900.0,
    total_seconds=1800.0,
)
"""For reasoning models, which may be silent for minutes, and for servers on the user's own network, which may have to
load a model first and write slowly."""

PINGED_IDLE_SECONDS = 90.0
"""The idle timeout for providers that send something every few seconds."""


def choose_timeouts(target: Target, requested: Timeouts | None) -> ChatTimeouts:
    """Return the timeouts of a chat: the *requested* ones, and otherwise those of its model and provider."""
    timeouts = LONG_TIMEOUTS if target.route.facts.reasoning or target.row.address.private_network else DEFAULT_TIMEOUTS
    if target.row.pings and not target.has_custom_address:
        # A server between us and the provider may hold back its pings.
        timeouts = msgspec.structs.replace(timeouts, idle_seconds=PINGED_IDLE_SECONDS)
    if requested is None:
        return timeouts
    timeouts = msgspec.structs.replace(timeouts, **_read_requested(requested))
    if requested.progress_ms is None:
        return timeouts
    # A request that wants content so soon does not want a longer silence.
    return msgspec.structs.replace(timeouts, idle_seconds=min(timeouts.idle_seconds, timeouts.progress_seconds))


def set_deadline(state: RequestState, target: Target, requested: Timeouts | None) -> None:
    """Set the deadline of a chat: the *requested* one, or else the usual one for its model."""
    limit = state.limit if requested and requested.total_ms else state.grant
    limit(round(choose_timeouts(target, requested).total_seconds * 1000))


def _read_requested(requested: Timeouts) -> dict[str, float]:
    return {
        f"{phase}_seconds": value_ms / 1000
        for phase in ("connect", "first_byte", "idle", "progress", "total")
        if (value_ms := getattr(requested, f"{phase}_ms")) is not None
    }
