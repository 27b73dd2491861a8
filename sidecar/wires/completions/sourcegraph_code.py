"""Sourcegraph's `POST /.api/completions/code`, for which the client writes the tokens of the model. [pure]

Source: cody dced3c1d (`vscode/src/completions/nodeClient.ts`), read 2026-11. Its events are called `completion`,
`error` and `done`.
"""

from typing import Any

import msgspec

from sidecar.codecs.frame import Frame
from sidecar.core.http import HttpRequest
from sidecar.core.json_values import read_text
from sidecar.wires.completions import choices
from sidecar.wires.completions.types import Piece, Prompt, Reading
from sidecar.wires.openai_chat import errors
from sidecar.wires.shared.errors import make_bad_event_error
from sidecar.wires.shared.types import Route

CODEC = "sse"

PATH = "/.api/completions/code?api-version=9"

TAKES_FILES = False

TAKES_ITEMS = False

classify = errors.classify


def encode(prompt: Prompt, route: Route) -> HttpRequest:
    """Return the streaming request for *prompt*. It has no field for several items."""
    fields = {
        "model": route.model,
        "messages": [{"speaker": "human", "text": prompt.prefix}],
        "maxTokensToSample": prompt.max_tokens,
        "stopSequences": prompt.stops,
        "temperature": prompt.temperature,
        "timeoutMs": prompt.budget_ms,
        "stream": True,
    }
    return choices.make_request(choices.drop_unset(fields), prompt, route, PATH)


class _Event(msgspec.Struct, gc=False):
    delta_text: Any = msgspec.field(default=None, name="deltaText")
    completion: Any = None
    stop_reason: Any = msgspec.field(default=None, name="stopReason")
    error: Any = None


_decode = msgspec.json.Decoder(_Event).decode


def read(frame: Frame) -> Reading:
    """Return what an event says.

    Raises: SidecarError for an error inside the stream, and `provider_error` for an event that cannot be read.
    """
    name, data = frame
    try:
        event = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise make_bad_event_error() from None
    if event.error or name == "error":
        raise errors.classify_in_stream({"error": event.error or "The provider failed."})
    reading = Reading(is_end=name == "done")
    # Only a document has the whole text in one field.
    if text := read_text(event.delta_text) or ("" if name else read_text(event.completion)):
        reading.pieces = [Piece(0, text)]
    if event.stop_reason:
        reading.reasons = {0: read_text(event.stop_reason) or None}
    return reading
