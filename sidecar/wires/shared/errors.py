"""The errors that wires raise themselves, in one wording for all of them. [pure]"""

from sidecar.core.errors import SidecarError, invalid


def make_unsupported_error(where: str, reason: str) -> SidecarError:
    """Return the `invalid_request` for content at *where* that the wire cannot carry."""
    return invalid(f"`{where}`: {reason}.", where)
