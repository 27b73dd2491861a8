"""What the headers of a reply say beside its body: the request's id, and how long to wait. [pure]"""

import math
import re
from collections.abc import Mapping

from sidecar.core.errors import clean_text

REQUEST_ID_HEADERS = (
    "request-id",
    "x-request-id",
    "x-amzn-requestid",
    "apim-request-id",
    "x-github-request-id",
    "x-goog-request-id",
    "x-generation-id",
    "cf-aig-log-id",
    "cf-ray",
)
"""Most specific first."""

MAX_RETRY_AFTER_MS = 366 * 86_400_000
"""A year: a longer wait is not believed."""


def read_request_id(headers: Mapping[str, str]) -> str | None:
    """Return the provider's id of the request, from the first header that has one."""
    for name in REQUEST_ID_HEADERS:
        if value := headers.get(name):
            return clean_id(value)
    return None


def clean_id(value: str) -> str | None:
    """Return *value* as at most 128 printable ASCII characters, or None when none are left."""
    return re.sub(r"[^\x21-\x7e]", "", clean_text(value))[:128] or None


def read_retry_after_ms(headers: Mapping[str, str]) -> int | None:
    """Return how long the provider asks to wait; what is not positive, finite or readable is ignored."""
    for name, unit_ms in (("retry-after-ms", 1), ("x-ms-retry-after-ms", 1), ("retry-after", 1000)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            wait_ms = float(value) * unit_ms
        except ValueError:
            wait_ms = _read_date_ms(value, headers.get("date"))
        if bounded_ms := bound_wait_ms(wait_ms):
            return bounded_ms
    return None


def bound_wait_ms(wait_ms: float | None) -> int | None:
    """Return *wait_ms* rounded up, or None when it is not between 0 and MAX_RETRY_AFTER_MS."""
    # NaN compares false with everything, so it is None too.
    return math.ceil(wait_ms) if wait_ms is not None and 0 < wait_ms <= MAX_RETRY_AFTER_MS else None


def _read_date_ms(value: str, now: str | None) -> float:
    """Return the milliseconds from *now*, the reply's `date`, to the date in *value*; 0 when one is unreadable."""
    # The provider's own clock is the base, so that a wrong local clock does no harm.
    from email.utils import parsedate_to_datetime

    try:
        return (parsedate_to_datetime(value) - parsedate_to_datetime(now or "")).total_seconds() * 1000
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0
