"""What a person can do about an error, and what comes nearest to a name that does not exist. [pure]"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

SUGGESTIONS = 3

_REMEDIES = {
    "auth_required": "`sidecar login {provider}` stores a key{variable}",
    "auth_failed": "`sidecar login {provider}` stores another key; `sidecar doctor {provider}` says which one is used",
    "model_not_found": "`sidecar models {provider}` lists them",
    "rate_limited": "wait, or name another model",
    "context_length_exceeded": "shorten the prompt; `sidecar models {provider}` has the limits",
    "network_error": "`sidecar doctor {provider}` looks for the cause",
    "internal_error": "this is a defect of the program; please report it",
}
"""Code of an error → what to do. A hint of the error itself says more for any other."""


def describe_remedy(error: Mapping[str, Any], variable: str = "") -> str:
    """Return what to do about the `error` object of a reply; *variable* may hold the provider's key."""
    text = _REMEDIES.get(str(error.get("code")))
    if text is None or (error.get("reason") and error.get("hint")):
        return str(error.get("hint") or "")
    provider = str(error.get("provider") or "").strip() or "PROVIDER"
    return text.format(provider=provider, variable=f", or set {variable}" if variable else "")


def find_nearest(name: str, known: Iterable[str], count: int = SUGGESTIONS) -> list[str]:
    """Return *count* of the *known* names, or all of them, those that come nearest to *name*, best first."""
    names = {each.lower(): each for each in known}
    wanted = name.lower()
    close = get_close_matches(wanted, names, count, 0.6)
    # A part of a name is no close match of it, but what people remember.
    parts = [each for each in sorted(names) if wanted.rpartition("/")[2] in each]
    rest = get_close_matches(wanted, names, count, 0.0)
    return [names[each] for each in dict.fromkeys(close + parts + rest)][:count]


def format_suggestions(names: Iterable[str]) -> str:
    """Return the sentence that offers *names*; empty for none."""
    listed = list(names)
    if not listed:
        return ""
    return f"Did you mean {' or '.join(filter(None, [', '.join(listed[:-1]), listed[-1]]))}?"
