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

    connect: float
    """For the TCP handshake, and again for that of TLS."""
    first_byte: float
    """From the request, connecting included, to the head of the reply."""
    idle: float
    """Between two pieces of the body, whatever they contain."""
    progress: float
    """Without content, whatever else arrives."""
    total: float
    """From the request's line to its terminal line, waits and further attempts included."""

    @property
    def for_http(self) -> HttpTimeouts:
        """The timeouts that the HTTP client applies."""
        return HttpTimeouts(connect=self.connect, first_byte=self.first_byte, idle=self.idle)


DEFAULT_TIMEOUTS = ChatTimeouts(
    connect=CONNECT_SECONDS,
    first_byte=FIRST_BYTE_SECONDS,
    idle=IDLE_SECONDS,
    progress=300.0,
    total=TOTAL_MS / 1000,
)

LONG_TIMEOUTS = ChatTimeouts(connect=CONNECT_SECONDS, first_byte=600.0, idle=600.0, progress=900.0, total=1800.0)
"""For reasoning models, which may be silent for minutes, and for servers on the user's own network, which may have to
load a model first and write slowly."""

PINGED_IDLE_SECONDS = 90.0
"""The idle timeout for providers that send something every few seconds."""


def choose_timeouts(target: Target, requested: Timeouts | None) -> ChatTimeouts:
    """Return the timeouts of a chat: the *requested* ones, and otherwise those of its model and provider."""
    timeouts = LONG_TIMEOUTS if target.route.facts.reasoning or target.row.address.private_network else DEFAULT_TIMEOUTS
    if target.row.pings and not target.has_custom_address:
        # A server between us and the provider may hold back its pings.
        timeouts = msgspec.structs.replace(timeouts, idle=PINGED_IDLE_SECONDS)
    if requested is None:
        return timeouts
    timeouts = msgspec.structs.replace(timeouts, **_read_requested(requested))
    if requested.progress_ms is None:
        return timeouts
    # A request that wants content so soon does not want a longer silence.
    return msgspec.structs.replace(timeouts, idle=min(timeouts.idle, timeouts.progress))


def set_deadline(state: RequestState, target: Target, requested: Timeouts | None) -> None:
    """Set the deadline of a chat: the *requested* one, or else the usual one for its model."""
    limit = state.limit if requested and requested.total_ms else state.grant
    limit(round(choose_timeouts(target, requested).total * 1000))


def _read_requested(requested: Timeouts) -> dict[str, float]:
    values_ms = {name: getattr(requested, f"{name}_ms") for name in ChatTimeouts.__struct_fields__}
    return {name: value_ms / 1000 for name, value_ms in values_ms.items() if value_ms is not None}
