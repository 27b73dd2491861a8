"""Workers AI's native API, `POST /ai/run/{model}`, answered in its own dialect or in that of `openai_chat`. [pure]

Knows its request, both dialects of its stream, its envelope and its error numbers. Sources:
workers-ai-provider 4.0.0 `src/streaming.ts` and cloudflare-docs workers-ai/platform/errors.mdx, read 2026-11.
"""

from typing import Any

import msgspec

from protocol.messages import FinishReason, Message, ToolCallPart, ToolResultPart, Usage
from protocol.options import Options
from protocol.replies import Chunk, Warn
from protocol.requests import Chat
from sidecar.codecs.frame import Frame
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest
from sidecar.core.json_values import parse_json, read_count, read_objects, read_text
from sidecar.core.message_content import list_parts
from sidecar.wires import openai_chat
from sidecar.wires.openai_chat.usage import read_usage
from sidecar.wires.shared.draft import Draft
from sidecar.wires.shared.error_rules import ReportedError, Rule, classify_error, list_codes, read_plain_text
from sidecar.wires.shared.errors import (
    make_bad_event_error,
    make_interrupted_error,
    make_unexpected_body_error,
    make_unsupported_error,
)
from sidecar.wires.shared.options import (
    describe_left_out,
    drop_refused_options,
    get_json_format,
    merge_provider_options,
    write_json_instruction,
)
from sidecar.wires.shared.tool_calls import encode_arguments, get_arguments, pair_calls
from sidecar.wires.shared.types import Encoded, Outcome, Route, StreamDecoder

CODEC = "sse"

DEFAULT_MAX_TOKENS = 4096
"""Always sent: the API's own default cuts answers at 256."""

_UNSUPPORTED_OPTIONS = ("stop", "reasoning", "tool_choice", "parallel_tool_calls")

# --- request ---------------------------------------------------------------------------------


def encode(chat: Chat, route: Route) -> Encoded:
    """Return the request for *chat*: a stream, except for JSON answers, which the API cannot stream."""
    warnings: list[Warn] = []
    options = drop_refused_options(chat.options, route, warnings)
    body: dict[str, Any] = {
        "messages": [
            turn for index, message in enumerate(pair_calls(chat.messages)) for turn in _encode_message(message, index)
        ],
        "max_tokens": options.max_tokens or min(route.facts.max_output or DEFAULT_MAX_TOKENS, DEFAULT_MAX_TOKENS),
        "stream": True,
    }
    body |= {name: value for name in ("temperature", "top_p", "seed") if (value := getattr(options, name)) is not None}
    if options.tools and options.tool_choice != "none":
        body["tools"] = [
            {"name": tool.name, "description": tool.description or "", "parameters": tool.parameters}
            for tool in options.tools
        ]
    unsupported = (name for name in _UNSUPPORTED_OPTIONS if getattr(options, name) not in (None, "auto", "none"))
    warnings.extend(describe_left_out(name, route) for name in unsupported)
    _add_response_format(body, options, route, warnings)
    request = HttpRequest(
        method="POST",
        url=route.base_url + (route.path or f"/run/{route.model}"),
        headers={"content-type": "application/json"} | route.headers,
        body=msgspec.json.encode(merge_provider_options(body, chat)),
    )
    return Encoded(request, warnings)


def _add_response_format(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    json_format = get_json_format(options)
    if json_format is None:
        return
    if route.facts.structured is False:
        text = write_json_instruction(json_format, route, warnings)
        body["messages"].insert(0, {"role": "system", "content": text})
        return
    body["stream"] = False
    if json_format.type == "json_schema":
        body["response_format"] = {"type": "json_schema", "json_schema": json_format.schema}
    else:
        body["response_format"] = {"type": "json_object"}


def _encode_message(message: Message, index: int) -> list[dict[str, Any]]:
    """Return the turns of *message*: one for each tool result, and one for the rest."""
    parts, where = list_parts(message), f"params.messages[{index}].content"
    results = [
        {"role": "tool", "tool_call_id": part.id, "content": _join_texts(part.content, where)}
        for part in parts
        if isinstance(part, ToolResultPart)
    ]
    calls = [
        {"id": part.id, "name": part.name, "arguments": get_arguments(part)}
        for part in parts
        if isinstance(part, ToolCallPart)
    ]
    others = [part for part in parts if not isinstance(part, (ToolResultPart, ToolCallPart))]
    # The parts of an answer are pieces of one text: some are cited, others not.
    text = _join_texts(others, where, "" if message.role == "assistant" else "\n")
    turn: dict[str, Any] = {"role": message.role, "content": text}
    if calls:
        turn["tool_calls"] = calls
    return [*results, turn] if text or calls else results


def _join_texts(content: Any, where: str, separator: str = "\n") -> str:
    if isinstance(content, str):
        return content
    texts: list[str] = []
    for at, part in enumerate(content):
        if part.__struct_config__.tag in ("image", "file"):
            raise make_unsupported_error(f"{where}[{at}]", "this wire takes only text; `openai_chat` takes images")
        if part.__struct_config__.tag == "text":
            texts.append(part.text)
    return separator.join(texts)


# --- stream ----------------------------------------------------------------------------------

FINISH_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length", "model_length": "length"}


class Decoder:
    """Events of one answer. The first event with `choices` hands the stream to the decoder of the other dialect."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._draft = Draft(route)
        self._other: StreamDecoder | None = None
        """The decoder of the other dialect, once the stream has shown that it speaks it."""
        self._done = False
        self._reason: str | None = None
        self._usage: dict[str, Any] = {}

    @property
    def finished(self) -> bool:
        """Whether `[DONE]` has come."""
        return self._other.finished if self._other else self._done

    @property
    def answer_chars(self) -> int:
        """How many characters of the answer have come."""
        return self._draft.answer_chars

    @property
    def usage(self) -> Usage | None:
        """The usage so far."""
        if self._other:
            return self._other.usage
        return read_usage(self._usage) if self._usage else None

    def feed(self, frame: Frame, out: list[Chunk]) -> None:
        """Append the chunks of one event to *out*.

        Raises: SidecarError for an error event or one that cannot be read.
        """
        if self._other:
            self._other.feed(frame, out)
            return
        if self._done:
            return
        if frame[1].strip() == b"[DONE]":
            self._done = True
            return
        event = parse_json(frame[1])
        if not isinstance(event, dict):
            raise make_bad_event_error()
        if "choices" in event:
            self._other = openai_chat.Decoder(self._route)
            self._other.feed(frame, out)
            return
        self._take_event(event, out)

    def build_partial(self) -> Message:
        """Return the message so far."""
        return self._other.build_partial() if self._other else self._draft.build_partial()

    def end(self, out: list[Chunk]) -> Outcome:
        """Close what is open and return the outcome.

        Raises: SidecarError `stream_interrupted` before `[DONE]`.
        """
        if self._other:
            return self._other.end(out)
        # An interrupted call is never reported as whole.
        if not self._done:
            raise make_interrupted_error()
        self._draft.end(out)
        finish_reason = FINISH_REASONS.get(self._reason or "stop", "other")
        if finish_reason == "stop" and self._draft.has_tool_calls:
            finish_reason = "tool_calls"
        return Outcome(
            finish_reason=finish_reason,
            provider_finish_reason=self._reason,
            usage=self.usage,
            message=self._draft.build_message(),
            model=self._route.model,
        )

    def take_result(self, result: dict[str, Any], out: list[Chunk]) -> None:
        """Append the chunks of a whole result to *out*: it is the only event of its stream."""
        self._take_event(result, out)
        self._done = True

    def _take_event(self, event: dict[str, Any], out: list[Chunk]) -> None:
        if event.get("error") or event.get("errors"):
            raise classify_error(_read_report(event), None, {}, ERRORS)
        text = event.get("response")
        if text is not None:
            # In JSON mode it is an object, and some models send numbers.
            self._draft.add_text(text if isinstance(text, str) else msgspec.json.encode(text).decode(), out)
        self._reason = read_text(event.get("finish_reason")) or self._reason
        if isinstance(event.get("usage"), dict):
            self._usage = event["usage"]
        for call in read_objects(event.get("tool_calls")):
            self._take_call(call, out)

    def _take_call(self, call: dict[str, Any], out: list[Chunk]) -> None:
        function = call["function"] if isinstance(call.get("function"), dict) else call
        name, arguments, draft = function.get("name"), function.get("arguments"), self._draft
        if not (call.get("id") or name or arguments):
            return  # The sentinel that ends a call is empty.
        key: object = read_count(call.get("index"))
        if key is None or (name and draft.has_call(key)):
            key = object() if name else key
        if not draft.has_call(key):
            draft.begin_call(key, str(call.get("id") or ""), str(name or ""), out)
        draft.add_arguments(key, encode_arguments(arguments), out)


def decode_whole(body: bytes, route: Route) -> tuple[StreamDecoder, list[Chunk]]:
    """Return the decoder and the chunks of a reply that came as one JSON document, in its envelope or without.

    Raises: SidecarError for an error document or for anything that is not an answer.
    """
    document = parse_json(body)
    if not isinstance(document, dict):
        raise make_unexpected_body_error()
    if document.get("success") is False or document.get("error"):
        raise classify_error(_read_report(document), None, {}, ERRORS)
    result = document.get("result", document)
    if isinstance(result, dict) and "choices" in result:
        return openai_chat.decode_whole(msgspec.json.encode(result), route)
    if not isinstance(result, dict) or not ("response" in result or "tool_calls" in result):
        raise make_unexpected_body_error()
    decoder, out = Decoder(route), list[Chunk]()
    decoder.take_result(result, out)
    return decoder, out


# --- errors ----------------------------------------------------------------------------------

_ACCOUNT = Rule("permission_denied")

ERRORS: dict[str, Rule] = {
    "5007": Rule("model_not_found"),
    "3042": Rule("model_not_found"),
    "5016": Rule("permission_denied", hint="Agree to the model's licence in the dashboard first."),
    "5018": _ACCOUNT,
    "3041": _ACCOUNT,
    "3023": _ACCOUNT,
    "3036": Rule("quota_exceeded", hint="The free daily allowance is used up; it returns at 00:00 UTC."),
    "3040": Rule("provider_overloaded"),
    "3007": Rule("provider_error"),
    "3008": Rule("provider_error"),
    "10000": Rule("auth_failed"),
    "7003": Rule("invalid_request", hint="Check `account_id`."),
    "7000": Rule("invalid_request", hint="Check `account_id` and the model's name."),
}
"""By the number of the error."""


def classify(status: int, headers: dict[str, str], body: bytes) -> SidecarError:
    """Return the error of an HTTP error reply."""
    document = parse_json(body)
    reported = _read_report(document) if isinstance(document, dict) else ReportedError(message=read_plain_text(body))
    return classify_error(reported, status, headers, ERRORS)


def _read_report(document: dict[str, Any]) -> ReportedError:
    errors = document.get("errors") or document.get("error")
    first = errors[0] if isinstance(errors, list) and errors else errors
    if not isinstance(first, dict):
        return ReportedError(message=str(first or document.get("message") or ""))
    message = str(first.get("message") or "")
    # The number may stand only in the text: `5007: No such model…`, `AiError: 3040: …`.
    words = (word.rstrip(":") for word in message.split()[:2])
    number = next((word for word in words if word.isdigit()), None)
    return ReportedError(message=message, codes=list_codes(number, first.get("code")))
