"""Times as requests name them and as the ledger stores them. [pure]"""

from datetime import UTC, datetime

from sidecar.core.errors import invalid_request


def parse_time(text: str, param: str) -> datetime:
    """Return the time that *text* names in ISO 8601, in UTC; without a zone it is in UTC already.

    Raises: SidecarError `invalid_request` that names *param*.
    """
    try:
        named = datetime.fromisoformat(text)
        return (named if named.tzinfo else named.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise invalid_request(f"`{param}` must be a date or a time in ISO 8601.", param) from None


def format_time(at: datetime) -> str:
    """Return *at* as the ledger stores it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
