"""How long a chat may take: in all, and in each of its phases.

Knows the defaults, and for whom they are longer. Must not know clocks, wires or HTTP.
"""

import msgspec

from protocol.requests import Timeouts
from sidecar.core.http import CONNECT_SECONDS, FIRST_BYTE_SECONDS, IDLE_SECONDS, HttpTimeouts
from sidecar.core.request_state import TOTAL_MS, RequestState
from sidecar.providers.values import Target


class ChatTimeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of a chat's phases, in seconds."""

    connect: float
    """Until there is a connection; for the TCP handshake and for that of TLS each."""
    first_byte: float
    """From the request, connection and all, to the reply's head."""
    idle: float
    """Between two pieces of its body, whatever they are."""
    progress: float
    """Without content, whatever signs of life come."""
    total: float
    """From the request's line to its terminal line, waits and further tries included."""

    @property
    def for_http(self) -> HttpTimeouts:
        """Return those that the HTTP client keeps."""
        return HttpTimeouts(connect=self.connect, first_byte=self.first_byte, idle=self.idle)


DEFAULT_TIMEOUTS = ChatTimeouts(
    connect=CONNECT_SECONDS,
    first_byte=FIRST_BYTE_SECONDS,
    idle=IDLE_SECONDS,
    progress=300.0,
    total=TOTAL_MS / 1000,
)

LONG_TIMEOUTS = ChatTimeouts(connect=CONNECT_SECONDS, first_byte=600.0, idle=600.0, progress=900.0, total=1800.0)
"""For models that think before they speak, some of them for minutes without a word, and for servers at the user's own
place, which may have a model to load first and write slowly."""

PINGED_IDLE_SECONDS = 90.0
"""Between two pieces of a reply from a provider that shows every few seconds that it is alive."""


def choose_timeouts(target: Target, wanted: Timeouts | None) -> ChatTimeouts:
    """Return the limits of a chat with *target*: those that it asks for, each of the others by model and provider."""
    patience = LONG_TIMEOUTS if target.route.facts.reasoning or target.row.address.private_network else DEFAULT_TIMEOUTS
    if target.row.pings and not target.has_custom_address:
        # What stands between us and a provider that was moved may keep its pings to itself.
        patience = msgspec.structs.replace(patience, idle=PINGED_IDLE_SECONDS)
    if wanted is None:
        return patience
    patience = msgspec.structs.replace(patience, **_read_requested(wanted))
    if wanted.progress_ms is None:
        return patience
    # Who wants content so soon does not want silence for longer.
    return msgspec.structs.replace(patience, idle=min(patience.idle, patience.progress))


def set_deadline(state: RequestState, target: Target, wanted: Timeouts | None) -> None:
    """Let a chat with *target* take as long in all as it asks for, else as long as is usual for the model."""
    limit = state.limit if wanted and wanted.total_ms else state.grant
    limit(round(choose_timeouts(target, wanted).total * 1000))


def _read_requested(wanted: Timeouts) -> dict[str, float]:
    asked = {name: getattr(wanted, f"{name}_ms") for name in ChatTimeouts.__struct_fields__}
    return {name: ms / 1000 for name, ms in asked.items() if ms is not None}
