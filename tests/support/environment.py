"""What the processes under test live in: their environment, and a machine that may be busy."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

TALKATIVE = {
    "SIDECAR_LOG": "debug",
    "ANTHROPIC_LOG": "debug",
    "OPENAI_LOG": "debug",
    "GOOGLE_SDK_PYTHON_LOGGING_SCOPE": "google",
}
"""What makes the program, and the libraries that it uses, say all that they have to say."""


KEPT = ("PATH", "SYSTEMROOT", "TEMP", "SIDECAR_HTTP", "SIDECAR_LOOP")
"""What a process has of the user's environment. The last two run the tests over another client, or in another loop."""


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment that shows nothing of the user's."""
    places = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "CACHE", "DATA", "STATE")}
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    # One attempt unless a test is about more: most of them are about what the first one came to.
    own = {"HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "SIDECAR_MAX_ATTEMPTS": "1"}
    return kept | places | own | TALKATIVE | more


def in_time(measure: Callable[[], float], limit_seconds: float) -> None:
    """Assert that *measure* gives no more than the limit.

    Once in three times is proof enough of what the process can do. A machine with more to do than it has
    processors is no place to measure: the test is skipped.
    """
    measured: list[float] = []
    while len(measured) < 3:
        measured.append(measure())
        if measured[-1] <= limit_seconds:
            return
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > (os.cpu_count() or 1):
        pytest.skip("the machine is too busy to measure")
    raise AssertionError(f"{limit_seconds} seconds allowed, measured: {measured}")
