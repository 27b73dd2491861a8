"""Mistral's `POST /fim/completions`, and the same models at Vertex AI. [pure]

Sources: mistralai 3.7.0 (`models/fimcompletionrequest.py`), docs.mistral.ai, read 2026-11. It refuses unknown fields,
and so is sent no other. Its answers have the shape of a chat.
"""

from sidecar.core.http import HttpRequest
from sidecar.wires.completions import choices
from sidecar.wires.completions.choices import CODEC, classify, read
from sidecar.wires.completions.types import Prompt
from sidecar.wires.shared.types import Route

__all__ = ["CODEC", "PATH", "TAKES_FILES", "TAKES_ITEMS", "classify", "encode", "read"]

PATH = "/fim/completions"

TAKES_FILES = False

TAKES_ITEMS = False


def encode(prompt: Prompt, route: Route) -> HttpRequest:
    """Return the streaming request for *prompt*. It has no field for several items."""
    fields = {
        "model": route.model,
        "prompt": prompt.prefix,
        "suffix": prompt.suffix or None,
        "max_tokens": prompt.max_tokens,
        "temperature": prompt.temperature,
        "stop": prompt.stops,
        "random_seed": prompt.seed,
        "stream": True,
    }
    return choices.make_request(choices.drop_unset(fields), prompt, route, PATH)
