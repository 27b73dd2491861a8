"""The action `apply_edit`: edits on a text that the host sends, without a model.

Must not know how edits are written or placed (`sidecar.formats`).
"""

from functools import partial

from protocol.files import EditOutcome
from protocol.requests import ApplyEdit
from sidecar.core.errors import invalid_request
from sidecar.formats import apply
from sidecar.formats.edits import make_edit
from sidecar.outputs.edit_threads import run_in_edit_thread
from sidecar.server.app import App
from sidecar.server.open_requests import OpenRequest


async def apply_edit(app: App, request: OpenRequest, params: ApplyEdit) -> EditOutcome:  # noqa: ARG001 - the signature of a handler
    """Return the text after the edits, and what became of each.

    Raises: SidecarError `invalid_request` for no edits, and for too many of them.
    """
    if (params.edits is None) == (params.patch is None):
        raise invalid_request("Set either `params.edits` or `params.patch`.", "params.edits")
    return await run_in_edit_thread(partial(_apply, params))


def _apply(params: ApplyEdit) -> EditOutcome:
    edits = None if params.edits is None else [make_edit(each.search, each.replace) for each in params.edits]
    wanted = params.patch or "" if edits is None else edits
    return apply.apply_edits(params.text, wanted, tolerance=params.tolerance, partial=params.partial)
