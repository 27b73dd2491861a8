"""What AWS says about a signature that it has refused for its time. [pure]

The wire gives such an error the reason CLOCK_SKEW; the auth scheme reads the times and sets its
clock right. Source: botocore 1.44.5 (`parsers.py`), read 2026-11.
"""

import re
from datetime import datetime

CLOCK_SKEW = "clock_skew"
"""The reason of a signature that was refused for its time."""

_SIGNED_AND_RECEIVED = re.compile(r"(\d{8}T\d{6})Z.{0,200}?\((\d{8}T\d{6})Z")


def read_signing_times(message: str) -> tuple[datetime, datetime] | None:
    """Return when the refused request was signed and when it was received, or None when *message* does not say."""
    if (found := _SIGNED_AND_RECEIVED.search(message)) is None:
        return None
    try:
        signed, received = (datetime.strptime(f"{each}+0000", "%Y%m%dT%H%M%S%z") for each in found.groups())
    except ValueError:
        return None
    return signed, received
