"""`POST /completions` with `prompt` and `suffix`, as OpenAI had it and many servers have it. [pure]

Sources: openai 3.54.0 (`types/completion.py`), api-docs.deepseek.com, inceptionai 0.3.0, vLLM and llama.cpp
(`server-common.cpp`), read 2026-11. Servers take four stops; some refuse `suffix`, which their errors say.
"""

from sidecar.core.http import HttpRequest
from sidecar.wires.completions import choices
from sidecar.wires.completions.choices import CODEC, classify, read
from sidecar.wires.completions.types import Prompt
from sidecar.wires.shared.types import Route

__all__ = ["CODEC", "PATH", "TAKES_FILES", "TAKES_ITEMS", "classify", "encode", "read"]

PATH = "/completions"

TAKES_FILES = False

TAKES_ITEMS = True

MAX_STOPS = 4
"""How many stops every server takes. The rest are cut from the text."""


def encode(prompt: Prompt, route: Route) -> HttpRequest:
    """Return the streaming request for *prompt*."""
    fields = {
        "model": route.model,
        "prompt": prompt.prefix,
        "suffix": prompt.suffix or None,
        "max_tokens": prompt.max_tokens,
        "temperature": prompt.temperature,
        "stop": prompt.stops[:MAX_STOPS],
        "n": prompt.n if prompt.n > 1 else None,
        route.quirks.seed_field or "seed": prompt.seed,
        "stream": True,
        "stream_options": {"include_usage": True} if route.quirks.usage_option else None,
    }
    return choices.make_request(choices.drop_unset(fields), prompt, route, PATH)
