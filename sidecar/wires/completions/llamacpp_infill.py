"""llama.cpp's `POST /infill`: the server knows the tokens of its model. [pure]

Source: llama.cpp (`tools/server/README.md`, `server-context.cpp`), read 2026-11.
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

CODEC = "sse"

PATH = "/infill"

TAKES_FILES = True

TAKES_ITEMS = False

SAMPLERS = ("top_k", "top_p", "infill")

classify = errors.classify


def encode(prompt: Prompt, route: Route) -> HttpRequest:
    """Return the streaming request for *prompt*."""
    fields = {
        "input_prefix": prompt.prefix,
        "input_suffix": prompt.suffix,
        "input_extra": [{"filename": file.path, "text": file.text} for file in prompt.files] or None,
        "n_predict": prompt.max_tokens,
        # It notices a closed connection only after a second.
        "t_max_predict_ms": prompt.budget_ms,
        "temperature": prompt.temperature,
        "seed": prompt.seed,
        "stop": prompt.stops,
        "samplers": SAMPLERS if prompt.temperature is None else None,
        "cache_prompt": True,
        "stream": True,
    }
    return choices.make_request(choices.drop_unset(fields), prompt, route, PATH)


class _Event(msgspec.Struct, gc=False):
    content: Any = None
    index: Any = None
    stop: Any = None
    stop_type: Any = None
    model: Any = None
    error: Any = None
    tokens_evaluated: Any = None
    tokens_predicted: Any = None


_decode = msgspec.json.Decoder(_Event).decode


def read(frame: Frame) -> Reading:
    """Return what an event says.

    Raises: SidecarError for an error inside the stream, and `provider_error` for an event that cannot be read.
    """
    if frame[1].startswith(b"[DONE]"):
        return Reading(is_end=True)
    try:
        event = _decode(frame[1])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise make_bad_event_error() from None
    if event.error:
        raise errors.classify_in_stream({"error": event.error})
    item = read_count(event.index) or 0
    reading = Reading(model=read_text(event.model) or None)
    if text := read_text(event.content):
        reading.pieces = [Piece(item, text)]
    if event.stop is True:
        reading.is_end, reading.reasons = True, {item: read_text(event.stop_type) or None}
        reading.usage = Usage(
            input_tokens=read_count(event.tokens_evaluated), output_tokens=read_count(event.tokens_predicted)
        )
    return reading
