"""The action `forget`."""

from typing import Any

from protocol.requests import Forget
from sidecar.reuse.store import find_store
from sidecar.server.app import App
from sidecar.server.open_requests import OpenRequest


async def forget(app: App, request: OpenRequest, params: Forget) -> dict[str, Any]:  # noqa: ARG001 - the signature of a handler
    """Forget the stored answers of a scope.

    Raises: SidecarError `internal_error` if their file cannot be used.
    """
    return {"forgotten": await find_store(app.upstream).forget(params.scope)}
