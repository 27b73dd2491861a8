"""What the processes under test live in: their environment, and a machine that may be busy."""

import os
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

MEASURES = 10
"""How often a time is measured, on a machine that may have other things to do, before it counts as too long."""

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
    """Assert that *measure* gives no more than the limit, once: that is what the program can do.

    A test that measures has the mark `alone`.
    """
    measured: list[float] = []
    while len(measured) < MEASURES:
        measured.append(measure())
        if measured[-1] <= limit_seconds:
            return
    raise AssertionError(f"{limit_seconds} seconds allowed, measured: {measured}")
