"""Ollama's `POST /api/generate`, answered in NDJSON. [pure]

Source: ollama fb307609 (`api/types.go`, `server/routes.go`), read 2026-11. `suffix` needs a model whose template has a
place for it; without the template, `raw`, it is ignored. A model that can think does so unless it is told not to.
"""

from typing import Any

import msgspec

from protocol.messages import Usage
from sidecar.codecs.frame import Frame
from sidecar.core.http import HttpRequest
from sidecar.core.json_values import read_count, read_text
from sidecar.wires.completions import choices
from sidecar.wires.completions.types import Piece, Prompt, Reading
from sidecar.wires.openai_chat import errors
from sidecar.wires.shared.errors import make_bad_event_error
from sidecar.wires.shared.types import Route

CODEC = "ndjson"

PATH = "/api/generate"

TAKES_FILES = False

TAKES_ITEMS = False

classify = errors.classify


def encode(prompt: Prompt, route: Route) -> HttpRequest:
    """Return the streaming request for *prompt*. It has no field for several items."""
    options = {
        "num_predict": prompt.max_tokens,
        "temperature": prompt.temperature,
        "seed": prompt.seed,
        "stop": prompt.stops,
        "num_ctx": route.facts.context_length,
    }
    body: dict[str, Any] = {
        "model": route.model,
        "prompt": prompt.prefix,
        "stream": True,
        "options": choices.drop_unset(options),
    }
    if prompt.is_raw:
        body["raw"] = True
    else:
        body |= {"suffix": prompt.suffix, "think": False} if prompt.suffix else {"think": False}
    return choices.make_request(body, prompt, route, PATH)


class _Line(msgspec.Struct, gc=False):
    response: Any = None
    done: Any = None
    done_reason: Any = None
    model: Any = None
    error: Any = None
    prompt_eval_count: Any = None
    eval_count: Any = None


_decode = msgspec.json.Decoder(_Line).decode


def read(frame: Frame) -> Reading:
    """Return what a line says.

    Raises: SidecarError for an error inside the stream, and `provider_error` for a line that cannot be read.
    """
    try:
        line = _decode(frame[1])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise make_bad_event_error() from None
    if line.error:
        raise errors.classify_in_stream({"error": line.error})
    reading = Reading(model=read_text(line.model) or None)
    if text := read_text(line.response):
        reading.pieces = [Piece(0, text)]
    if line.done is True:
        reading.is_end, reading.reasons = True, {0: read_text(line.done_reason) or None}
        reading.usage = Usage(
            input_tokens=read_count(line.prompt_eval_count), output_tokens=read_count(line.eval_count)
        )
    return reading
