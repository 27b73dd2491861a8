"""The action `usage_report`."""

from protocol.replies import UsageTable
from protocol.requests import UsageReport
from sidecar.server.app import App
from sidecar.server.open_requests import OpenRequest
from sidecar.usage.report import report


async def usage_report(app: App, request: OpenRequest, params: UsageReport) -> UsageTable:  # noqa: ARG001 - the signature of a handler
    """Return what past requests used and cost, from the ledger.

    Raises: SidecarError `invalid_request`, or `internal_error` when the ledger cannot be read.
    """
    return await report(app.upstream.ledger, params)
