"""The errors that wires raise themselves, in one wording for all of them. [pure]"""

from sidecar.core.errors import SidecarError, invalid_request


def make_unsupported_error(where: str, reason: str) -> SidecarError:
    """Return the `invalid_request` for content at *where* that the wire cannot carry."""
    return invalid_request(f"`{where}`: {reason}.", where)


def make_bad_event_error() -> SidecarError:
    """Return the error for an event that cannot be read."""
    return SidecarError("provider_error", "The provider sent an event that cannot be read.", reason="bad_event")


def make_interrupted_error() -> SidecarError:
    """Return the error for a stream that ended before its terminal marker."""
    return SidecarError("stream_interrupted", "The stream ended before the provider said that it was complete.")


def make_unexpected_body_error() -> SidecarError:
    """Return the error for a reply of status 200 that is not an answer of the API."""
    return SidecarError(
        "provider_error",
        "The provider's reply does not have the format of its API.",
        reason="unexpected_content_type",
        hint="Check whether a captive portal, a proxy or a wrong base_url is answering.",
    )
