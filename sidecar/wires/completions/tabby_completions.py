"""Tabby's `POST /v1/completions`, which takes the two sides of the cursor as `segments`. [pure]

Source: tabby 21b29048 (`crates/tabby/src/services/completion.rs`), read 2026-11. It answers in one document.
"""

from typing import Any

from sidecar.core.http import HttpRequest
from sidecar.wires.completions import choices
from sidecar.wires.completions.choices import CODEC, classify, read
from sidecar.wires.completions.types import Prompt
from sidecar.wires.shared.types import Route

__all__ = ["CODEC", "PATH", "TAKES_FILES", "TAKES_ITEMS", "classify", "encode", "read"]

PATH = "/v1/completions"

TAKES_FILES = True

TAKES_ITEMS = False


def encode(prompt: Prompt, route: Route) -> HttpRequest:
    """Return the request for *prompt*. The server chooses the model and the length."""
    segments: dict[str, Any] = {"prefix": prompt.prefix, "suffix": prompt.suffix or None, "filepath": prompt.path}
    if prompt.files:
        segments["declarations"] = [{"filepath": file.path, "body": file.text} for file in prompt.files]
    fields = {
        "language": prompt.language,
        "segments": choices.drop_unset(segments),
        "temperature": prompt.temperature,
        "seed": prompt.seed,
    }
    return choices.make_request(choices.drop_unset(fields), prompt, route, PATH)
