"""The action `initialize`: the host introduces itself and learns what this sidecar can do."""

from typing import Any

from protocol.replies import PROTOCOL_VERSION
from protocol.requests import ACTIONS, Initialize
from sidecar import __version__
from sidecar.core.errors import invalid_request
from sidecar.server import heartbeat
from sidecar.server.app import App
from sidecar.server.framing import MAX_LINE_BYTES


def initialize(app: App, params: Initialize) -> dict[str, Any]:
    """Keep what the host says about itself, and return what the sidecar can do.

    Raises: SidecarError `invalid_request` for a protocol version that is not ours.
    """
    # A host that only pings needs neither.
    from sidecar.providers import rows
    from sidecar.wires import registry

    if params.protocol_version != PROTOCOL_VERSION:
        raise invalid_request(f"`params.protocol_version` must be {PROTOCOL_VERSION}.", "params.protocol_version")
    app.begin_session(params)
    heartbeat.start(app)
    return {
        "protocol_version": PROTOCOL_VERSION,
        "name": "sidecar",
        "version": __version__,
        "actions": sorted(ACTIONS),
        "providers": sorted(rows.list_providers(app.upstream.setup)),
        "wires": list(registry.list_names()),
        "events": ["status", "warnings"],
        "limits": {"max_line_bytes": MAX_LINE_BYTES, "max_reply_line_bytes": params.max_line_bytes},
    }
