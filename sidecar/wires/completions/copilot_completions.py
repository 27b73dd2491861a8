"""Copilot's `POST /v1/engines/{model}/completions`, which is not documented. [pure]

Source: vscode-copilot-chat 31acd00a (`src/extension/completions-core`), read 2026-11. Its events have no id and no
model, and the first and the last may lack the text.
"""

from urllib.parse import quote

from sidecar.core.http import HttpRequest
from sidecar.wires.completions import choices
from sidecar.wires.completions.choices import CODEC, classify, read
from sidecar.wires.completions.types import Prompt
from sidecar.wires.shared.types import Route

__all__ = ["CODEC", "PATH", "TAKES_FILES", "TAKES_ITEMS", "classify", "encode", "read"]

PATH = "/v1/engines/{model}/completions"

TAKES_FILES = True

TAKES_ITEMS = True

TEMPERATURES = ((1, 0.0), (9, 0.2), (19, 0.4))
"""The most items → the temperature with which GitHub's own client asks for them."""


def encode(prompt: Prompt, route: Route) -> HttpRequest:
    """Return the streaming request for *prompt*."""
    usual = next((value for most, value in TEMPERATURES if prompt.n <= most), 0.8)
    extra = {
        "language": prompt.language or "",
        "next_indent": 0,
        "trim_by_indentation": not prompt.is_one_line,
        "context": [f"Path: {file.path}\n{file.text}" for file in prompt.files],
    }
    fields = {
        "prompt": prompt.prefix,
        "suffix": prompt.suffix,
        "max_tokens": prompt.max_tokens,
        "temperature": usual if prompt.temperature is None else prompt.temperature,
        "top_p": 1,
        "n": prompt.n,
        "stop": prompt.stops,
        "stream": True,
        "extra": extra,
    }
    path = PATH.replace("{model}", quote(route.model, safe="@/"))
    return choices.make_request(choices.drop_unset(fields), prompt, route, path)
