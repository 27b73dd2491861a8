"""Ollama's own API, `POST /api/chat`, answered in NDJSON. [pure]

Knows its request, its lines and its error bodies. Source: ollama fb307609 (`api/types.go`,
`server/routes.go`), read 2026-11. Its OpenAI-compatible endpoints cannot set the context length.
"""

from typing import Any

import msgspec

from protocol.messages import (
    FilePart,
    FinishReason,
    ImagePart,
    Message,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Usage,
)
from protocol.options import NamedTool, Options
from protocol.replies import Chunk, Warn
from protocol.requests import Chat
from sidecar.codecs.frame import Frame
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest
from sidecar.core.json_values import parse_json, read_count, read_object
from sidecar.core.message_content import list_parts, read_inline_data
from sidecar.wires.shared.draft import Draft
from sidecar.wires.shared.error_rules import ReportedError, Rule, classify_error, read_plain_text
from sidecar.wires.shared.errors import make_bad_event_error, make_interrupted_error, make_unsupported_error
from sidecar.wires.shared.options import (
    describe_left_out,
    drop_refused_options,
    list_stops,
    merge_provider_options,
)
from sidecar.wires.shared.state import make_state, read_own_state
from sidecar.wires.shared.tool_calls import encode_arguments, get_arguments, pair_calls
from sidecar.wires.shared.types import Encoded, Outcome, Route

CODEC = "ndjson"

PATH = "/api/chat"

# --- request ---------------------------------------------------------------------------------


def encode(chat: Chat, route: Route) -> Encoded:
    """Return the streaming request for *chat*."""
    warnings: list[Warn] = []
    options = drop_refused_options(chat.options, route, warnings)
    body: dict[str, Any] = {"model": route.model, "messages": _encode_messages(chat.messages, route), "stream": True}
    if options.tools and options.tool_choice != "none":
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description or "",
                    "parameters": tool.parameters,
                },
            }
            for tool in options.tools
        ]
    if options.tool_choice == "required" or isinstance(options.tool_choice, NamedTool):
        warnings.append(describe_left_out("tool_choice", route))
    if options.parallel_tool_calls is not None:
        warnings.append(describe_left_out("parallel_tool_calls", route))
    if model_options := _encode_model_options(options, route):
        body["options"] = model_options
    if options.reasoning is not None:
        effort = options.reasoning.effort
        level = {"none": False, "minimal": "low", "xhigh": "high"}.get(effort or "", effort)
        body["think"] = True if level is None else level
    response_format = options.response_format
    if response_format is not None and response_format.type != "text":
        has_schema = response_format.type == "json_schema" and response_format.schema is not None
        body["format"] = response_format.schema if has_schema else "json"
    request = HttpRequest(
        method="POST",
        url=route.base_url + (route.path or PATH),
        headers={"content-type": "application/json"} | route.headers,
        body=msgspec.json.encode(merge_provider_options(body, chat)),
    )
    return Encoded(request, warnings)


def _encode_model_options(options: Options, route: Route) -> dict[str, Any]:
    fields = {
        "num_predict": options.max_tokens,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "seed": options.seed,
        "stop": list_stops(options) or None,
        # Without it the server silently cuts off the beginning of a long prompt.
        "num_ctx": route.facts.context_length,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _encode_messages(messages: list[Message], route: Route) -> list[dict[str, Any]]:
    messages = pair_calls(messages)
    names = {
        part.id: part.name for message in messages for part in list_parts(message) if isinstance(part, ToolCallPart)
    }
    encoded: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        where = f"params.messages[{index}].content"
        results = [part for part in list_parts(message) if isinstance(part, ToolResultPart)]
        encoded += [_encode_result(part, names, where) for part in results]
        if len(results) < len(list_parts(message)) and (turn := _encode_message(message, route, where)):
            encoded.append(turn)
    return encoded


def _encode_message(message: Message, route: Route, where: str) -> dict[str, Any] | None:
    """Return a message without its tool results, or None when nothing of it is left."""
    parts = list_parts(message)
    for at, part in enumerate(parts):
        if isinstance(part, FilePart):
            raise make_unsupported_error(f"{where}[{at}]", "this provider takes no files")
    # The parts of an answer are pieces of one text: some are cited, others not.
    separator = "" if message.role == "assistant" else "\n"
    content = separator.join(part.text for part in parts if isinstance(part, TextPart))
    calls = [part for part in parts if isinstance(part, ToolCallPart)]
    reasoning = [
        part.content
        for part in parts
        if isinstance(part, ReasoningPart) and read_own_state(part.state, route) is not None
    ]
    fields = {
        "images": [
            _encode_image(part, f"{where}[{at}]") for at, part in enumerate(parts) if isinstance(part, ImagePart)
        ],
        "tool_calls": [_encode_call(part, at) for at, part in enumerate(calls)],
        "thinking": "".join(reasoning),
    }
    given = {name: value for name, value in fields.items() if value}
    return {"role": message.role, "content": content} | given if content or given else None


def _encode_call(part: ToolCallPart, index: int) -> dict[str, Any]:
    function = {"index": index, "name": part.name, "arguments": get_arguments(part)}
    return {"id": part.id, "function": function}


def _encode_result(part: ToolResultPart, names: dict[str, str], where: str) -> dict[str, Any]:
    text, images = part.content if isinstance(part.content, str) else "", list[str]()
    if not isinstance(part.content, str):
        text = "\n".join(each.text for each in part.content if isinstance(each, TextPart))
        images = [_encode_image(each, where) for each in part.content if isinstance(each, ImagePart)]
    encoded: dict[str, Any] = {"role": "tool", "content": text, "tool_call_id": part.id}
    if name := names.get(part.id):
        encoded["tool_name"] = name
    if images:
        encoded["images"] = images
    return encoded


def _encode_image(part: ImagePart, where: str) -> str:
    inline = read_inline_data(part, where)
    if inline is None:
        raise make_unsupported_error(f"{where}.url", "this provider takes an image only as base64 `data`")
    return inline[1]


# --- stream ----------------------------------------------------------------------------------


class _Message(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class _Line(msgspec.Struct):
    model: str | None = None
    message: _Message | None = None
    response: str | None = None
    """What `/api/generate` has in place of `message.content`."""
    thinking: str | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    error: Any = None
    signin_url: str | None = None


_line_reader = msgspec.json.Decoder(_Line)

FINISH_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


class Decoder:
    """Lines of one answer. A call comes whole, and no finish reason says that there were calls."""

    def __init__(self, route: Route) -> None:
        self.finished = False
        self._route = route
        self._draft = Draft(route)
        self._model = route.model
        self._reason: str | None = None
        self._usage: Usage | None = None

    @property
    def answer_chars(self) -> int:
        """How many characters of the answer have come."""
        return self._draft.answer_chars

    @property
    def usage(self) -> Usage | None:
        """The usage, once the last line has come."""
        return self._usage

    def feed(self, frame: Frame, out: list[Chunk]) -> None:
        """Append the chunks of one line to *out*.

        Raises: SidecarError for an error line or one that cannot be read.
        """
        if self.finished:
            return
        try:
            line = _line_reader.decode(frame[1])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise make_bad_event_error() from None
        if line.error is not None:
            raise classify_error(ReportedError(message=_read_message(line.error)), None, {}, ERRORS)
        message = line.message or _Message(content=line.response, thinking=line.thinking)
        if message.thinking:
            self._draft.add_reasoning(message.thinking, out)
            self._draft.set_reasoning_state(make_state(self._route, {}, self._model))
        if message.content:
            self._draft.add_text(message.content, out)
        for call in message.tool_calls or ():
            self._take_call(call, out)
        if line.done:
            self._finish(line)

    def build_partial(self) -> Message:
        """Return the message so far."""
        return self._draft.build_partial()

    def end(self, out: list[Chunk]) -> Outcome:
        """Close what is open and return the outcome.

        Raises: SidecarError `stream_interrupted` before the line with `done`.
        """
        # An interrupted call is never reported as whole.
        if not self.finished:
            raise make_interrupted_error()
        self._draft.end(out)
        finish_reason = FINISH_REASONS.get(self._reason or "stop", "other")
        if finish_reason == "stop" and self._draft.has_tool_calls:
            finish_reason = "tool_calls"
        return Outcome(
            finish_reason=finish_reason,
            provider_finish_reason=self._reason,
            usage=self._usage,
            message=self._draft.build_message(),
            model=self._model,
        )

    def _take_call(self, call: dict[str, Any], out: list[Chunk]) -> None:
        function = read_object(call.get("function"))
        key = object()
        self._draft.begin_call(key, str(call.get("id") or ""), str(function.get("name") or ""), out)
        self._draft.add_arguments(key, encode_arguments(function.get("arguments")), out)
        self._draft.end_call(key, out)

    def _finish(self, line: _Line) -> None:
        self.finished = True
        self._model = line.model or self._model
        self._reason = line.done_reason or None
        # A missing count was zero or came from a cache, so it is unknown, and not 0.
        self._usage = Usage(input_tokens=read_count(line.prompt_eval_count), output_tokens=read_count(line.eval_count))


def decode_whole(body: bytes, route: Route) -> tuple[Decoder, list[Chunk]]:
    """Return the decoder and the chunks of a reply that came as one JSON document.

    Raises: SidecarError as `Decoder.feed` does.
    """
    decoder, out = Decoder(route), list[Chunk]()
    decoder.feed(("", body), out)
    return decoder, out


# --- errors ----------------------------------------------------------------------------------

ERRORS: dict[str, Rule] = {}
"""The API has no machine codes: the statuses and the messages must do."""


def classify(status: int, headers: dict[str, str], body: bytes) -> SidecarError:
    """Return the error of an HTTP error reply."""
    document = parse_json(body)
    message = _read_message(document.get("error")) if isinstance(document, dict) else read_plain_text(body)
    error = classify_error(ReportedError(message=message), status, headers, ERRORS)
    if isinstance(document, dict) and document.get("signin_url"):
        return error.with_fields(code="auth_required", hint="Sign in with `ollama signin`.")
    if status == 404 and "model" in message:
        return error.with_fields(hint="Get the model with `ollama pull` first.")
    return error


def _read_message(error: Any) -> str:
    return str(error.get("message") or "") if isinstance(error, dict) else str(error or "")
