"""Anthropic's Messages API, `POST /v1/messages`. [pure]

Knows its request, its event stream and its error bodies. Sources: anthropic 2.11.0
(`types/message_create_params.py`, `lib/streaming/_messages.py`, `types/shared/error_type.py`)
and the migration guide to version 2026-10-21, read 2026-11.
"""

from typing import Any

import msgspec

from protocol.messages import (
    Citation,
    FilePart,
    FinishReason,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    State,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
    Usage,
)
from protocol.replies import Chunk, Warn
from protocol.requests import Chat, NamedTool, Options
from sidecar.codecs import Frame
from sidecar.errors import SidecarError
from sidecar.wires import common, faults
from sidecar.wires.draft import Draft
from sidecar.wires.faults import Rule
from sidecar.wires.types import Encoded, HttpRequest, Outcome, Route

CODEC = "sse"

VERSION = "2026-10-21"
"""Refuses `temperature`, `top_p` and `top_k` whatever the model."""

VERSION_WITH_SAMPLING = "2023-06-01"
"""The version to say for a model that still takes them."""

DEFAULT_MAX_TOKENS = 32_000
"""`max_tokens` is required; this, or less where the model cannot write as much."""

MIN_THINKING_TOKENS = 1024

BUDGET_OF_EFFORT = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_576, "max": 31_999}
"""Thinking tokens for an effort, for the models that take only a budget."""


# --- request ---------------------------------------------------------------------------------


def encode(chat: Chat, route: Route) -> Encoded:
    """Return the streaming request for *chat*."""
    warnings: list[Warn] = []
    options = common.accepted(chat.options, route, warnings)
    system, messages = _conversation(chat.messages, route)
    body: dict[str, Any] = {
        "model": route.model,
        "max_tokens": options.max_tokens or min(route.facts.max_output or DEFAULT_MAX_TOKENS, DEFAULT_MAX_TOKENS),
        "messages": messages,
        "stream": True,
    }
    if system:
        body["system"] = system
    if options.tools:
        body["tools"] = [_tool(tool) for tool in options.tools]
        if choice := _tool_choice(options):
            body["tool_choice"] = choice
    if stops := common.stop_list(options):
        body["stop_sequences"] = stops
    version = _sampling(body, options, route, warnings)
    _thinking(body, options, route, warnings)
    _response_format(body, options, warnings)
    if options.seed is not None:
        warnings.append(common.left_out("seed", route))
    if options.cache == "auto":
        _mark_cache(body)
    headers = {"anthropic-version": version, "content-type": "application/json"} | route.headers
    return Encoded(
        HttpRequest(
            method="POST",
            url=f"{route.base_url}/v1/messages",
            headers=headers,
            body=msgspec.json.encode(common.merge_provider_options(body, chat)),
        ),
        warnings,
    )


def _conversation(messages: list[Message], route: Route) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the system blocks and the turns, consecutive turns of one role merged into one."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        where = f"params.messages[{index}].content"
        blocks = [
            block
            for at, part in enumerate(common.parts(message))
            if (block := _block(part, message.role, route, f"{where}[{at}]")) is not None
        ]
        if message.role == "system":
            system.extend(blocks)
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(blocks)
        else:
            turns.append({"role": role, "content": blocks})
    for turn in turns:
        if turn["role"] == "user":
            # The results of an assistant turn must come before anything else in the next user turn.
            turn["content"].sort(key=lambda block: block["type"] != "tool_result")
    return system, turns


def _block(part: Part, role: str, route: Route, where: str) -> dict[str, Any] | None:
    match part:
        case TextPart():
            if not part.text and part.state is None:
                return None
            block: dict[str, Any] = {"type": "text", "text": part.text}
            if role == "assistant" and (state := common.own_state(part.state, route)):
                block |= state
            return block
        case ImagePart() | FilePart():
            return _media(part, where)
        case ReasoningPart():
            # Without its signature a thinking block is refused, so another provider's is left out.
            state = common.own_state(part.state, route)
            if state is None:
                return None
            if "data" in state:
                return {"type": "redacted_thinking", "data": state["data"]}
            return {"type": "thinking", "thinking": part.content, "signature": state["signature"]}
        case ToolCallPart():
            return {"type": "tool_use", "id": tool_id(part.id), "name": part.name, "input": part.arguments or {}}
        case ToolResultPart():
            return _tool_result(part, where)
        case OpaquePart():
            return common.own_state(part.state, route)  # type: ignore[no-any-return]  # a block of this wire


def tool_id(call_id: str) -> str:
    """Return *call_id* in the alphabet that the API takes: letters, digits, `_` and `-`."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in call_id)[:64] or "call"


def _media(part: ImagePart | FilePart, where: str) -> dict[str, Any]:
    kind = "image" if isinstance(part, ImagePart) else "document"
    data = common.inline(part, where)
    source: dict[str, Any]
    if data is None:
        source = {"type": "url", "url": part.url}
    elif kind == "document" and data[0] == "text/plain":
        source = {"type": "text", "media_type": "text/plain", "data": common.text_of(data[1], where)}
    else:
        source = {"type": "base64", "media_type": data[0], "data": data[1]}
    block: dict[str, Any] = {"type": kind, "source": source}
    if isinstance(part, FilePart) and part.name:
        block["title"] = part.name
    return block


def _tool_result(part: ToolResultPart, where: str) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": tool_id(part.id)}
    if isinstance(part.content, str):
        block["content"] = part.content
    else:
        block["content"] = [
            {"type": "text", "text": each.text} if isinstance(each, TextPart) else _media(each, f"{where}.content[{at}]")
            for at, each in enumerate(part.content)
        ]
    if part.is_error:
        block["is_error"] = True
    return block


def _tool(tool: Tool) -> dict[str, Any]:
    block: dict[str, Any] = {"name": tool.name, "input_schema": tool.parameters}
    if tool.description is not None:
        block["description"] = tool.description
    if tool.strict is not None:
        block["strict"] = tool.strict
    return block


def _tool_choice(options: Options) -> dict[str, Any] | None:
    match options.tool_choice:
        case NamedTool(name):
            choice: dict[str, Any] = {"type": "tool", "name": name}
        case "required":
            choice = {"type": "any"}
        case "none":
            return {"type": "none"}
        case _:
            if options.tool_choice is None and options.parallel_tool_calls is None:
                return None
            choice = {"type": "auto"}
    if options.parallel_tool_calls is not None:
        choice["disable_parallel_tool_use"] = not options.parallel_tool_calls
    return choice


def _sampling(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> str:
    """Add the sampling options and return the API version that lets them pass."""
    wanted = {name: value for name in ("temperature", "top_p") if (value := getattr(options, name)) is not None}
    if not wanted:
        return VERSION
    if not route.facts.sampling:
        warnings.extend(common.left_out(name, route) for name in wanted)
        return VERSION
    body |= wanted
    return VERSION_WITH_SAMPLING


def _thinking(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    wanted = options.reasoning
    if wanted is None:
        return
    display = "omitted" if wanted.include is False else "summarized"
    if wanted.effort == "none":
        body["thinking"] = {"type": "disabled"}
        return
    budget = wanted.budget_tokens
    if budget is None and route.facts.thinking == "budget":
        budget = BUDGET_OF_EFFORT.get(wanted.effort or "medium")
    if route.facts.thinking == "budget" and budget is not None:
        budget = max(MIN_THINKING_TOKENS, min(budget, body["max_tokens"] - 1))
        if budget >= body["max_tokens"]:
            warnings.append(common.left_out("reasoning", route))
            return
        body["thinking"] = {"type": "enabled", "budget_tokens": budget}
        return
    if budget is not None:
        warnings.append(common.left_out("reasoning.budget_tokens", route))
    body["thinking"] = {"type": "adaptive", "display": display}
    if wanted.effort:
        effort = "low" if wanted.effort == "minimal" else wanted.effort
        body.setdefault("output_config", {})["effort"] = effort


def _response_format(body: dict[str, Any], options: Options, warnings: list[Warn]) -> None:
    wanted = options.response_format
    if wanted is None or wanted.type == "text":
        return
    if wanted.type == "json_schema" and wanted.schema is not None:
        body.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": wanted.schema}
        return
    body.setdefault("system", []).append({"type": "text", "text": "Answer with one JSON value and nothing else."})
    warnings.append(
        Warn(
            code="emulated",
            message="JSON without a schema is asked for by instruction on this wire.",
            param="params.options.response_format",
        )
    )


def _mark_cache(body: dict[str, Any]) -> None:
    """Place breakpoints after the tools and the system text, and after the last two user turns (at most 4 are allowed)."""
    mark = {"cache_control": {"type": "ephemeral"}}
    if body.get("system"):
        body["system"][-1] |= mark
    elif body.get("tools"):
        body["tools"][-1] |= mark
    users = [turn for turn in body["messages"] if turn["role"] == "user"]
    for turn in users[-2:]:
        if turn["content"][-1]["type"] != "thinking":
            turn["content"][-1] |= mark


# --- stream ----------------------------------------------------------------------------------


class _Delta(msgspec.Struct):
    type: str = ""
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    citation: dict[str, Any] | None = None
    stop_reason: str | None = None
    stop_details: dict[str, Any] | None = None


class _Event(msgspec.Struct):
    type: str = ""
    index: int | None = None
    delta: _Delta | None = None
    content_block: dict[str, Any] | None = None
    message: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None
    request_id: str | None = None


_event = msgspec.json.Decoder(_Event)

FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "pause_turn": "paused",
    "refusal": "refusal",
}


class Decoder:
    """Events of one message. Tolerates deltas without their start and blocks without their stop."""

    def __init__(self, route: Route) -> None:
        self.finished = False
        self._route = route
        self._draft = Draft()
        self._model = route.model
        self._message_id: str | None = None
        self._stop_reason: str | None = None
        self._usage: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        """Open blocks of the provider's own, by index."""
        self._block_json: dict[int, list[str]] = {}
        self._citations: list[dict[str, Any]] = []

    @property
    def usage(self) -> Usage | None:
        """The usage known so far."""
        return usage(self._usage) if self._usage else None

    def feed(self, frame: Frame, out: list[Chunk]) -> None:
        """Append what one event says to *out*."""
        if self.finished:
            return
        try:
            event = _event.decode(frame[1])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise faults.bad_event() from None
        delta = event.delta
        if delta is not None and delta.type == "text_delta":
            self._draft.text(delta.text or "", out)
        elif event.type == "content_block_delta" and delta is not None:
            self._block_delta(event.index or 0, delta, out)
        elif event.type == "content_block_start":
            self._block_start(event.index or 0, event.content_block or {}, out)
        elif event.type == "content_block_stop":
            self._block_stop(event.index or 0, out)
        elif event.type == "message_start":
            self._message(event.message or {}, out)
        elif event.type == "message_delta":
            self._stop_reason = (delta and delta.stop_reason) or self._stop_reason
            self._usage |= {key: value for key, value in (event.usage or {}).items() if value is not None}
        elif event.type == "message_stop":
            self.finished = True
        elif event.error is not None:
            raise faults.judge(_fault({"error": event.error, "request_id": event.request_id}), None, {}, ERRORS)

    def end(self, out: list[Chunk]) -> Outcome:
        """Close what is open and return the outcome.

        Raises: SidecarError `stream_interrupted` before `message_stop`.
        """
        for index in list(self._blocks):
            self._block_stop(index, out)
        self._draft.end(out)
        if not self.finished:
            raise faults.interrupted()
        reason = self._stop_reason
        return Outcome(
            finish_reason=FINISH_REASONS.get(reason or "", "other"),
            provider_finish_reason=reason,
            usage=self.usage,
            message=self._draft.message(),
            model=self._model,
            request_id=self._message_id,
        )

    def _message(self, message: dict[str, Any], out: list[Chunk]) -> None:
        self._model = message.get("model") or self._model
        self._message_id = message.get("id")
        self._stop_reason = message.get("stop_reason")
        self._usage |= {key: value for key, value in (message.get("usage") or {}).items() if value is not None}
        # The message may begin with whole blocks, and a reply that was not streamed is nothing else.
        for index, block in enumerate(message.get("content") or ()):
            self._block_start(-1 - index, block, out)
            self._block_stop(-1 - index, out)

    def _block_start(self, index: int, block: dict[str, Any], out: list[Chunk]) -> None:
        kind = block.get("type")
        draft = self._draft
        if kind == "text":
            draft.close_block()
            self._citations = []
            draft.text(block.get("text") or "", out)
            for citation in block.get("citations") or ():
                self._citation(citation, out)
        elif kind == "thinking":
            draft.close_block()
            draft.reasoning(block.get("thinking") or "", out)
            if block.get("signature"):
                draft.reasoning_state(self._state({"signature": block["signature"]}))
        elif kind == "redacted_thinking":
            draft.close_block()
            draft.reasoning_state(self._state({"data": block.get("data", "")}))
        elif kind == "tool_use":
            draft.tool_begin(index, str(block.get("id") or ""), str(block.get("name") or ""), out)
            if block.get("input"):
                draft.tool_delta(index, msgspec.json.encode(block["input"]).decode(), out)
        else:
            self._blocks[index] = block

    def _block_delta(self, index: int, delta: _Delta, out: list[Chunk]) -> None:
        draft = self._draft
        if delta.type == "input_json_delta":
            if draft.tool_known(index):
                draft.tool_delta(index, delta.partial_json or "", out)
            else:
                self._block_json.setdefault(index, []).append(delta.partial_json or "")
        elif delta.type == "thinking_delta":
            draft.reasoning(delta.thinking or "", out)
        elif delta.type == "signature_delta":
            draft.reasoning_state(self._state({"signature": delta.signature}))
        elif delta.type == "citations_delta" and delta.citation is not None:
            self._citation(delta.citation, out)

    def _block_stop(self, index: int, out: list[Chunk]) -> None:
        draft = self._draft
        if draft.tool_known(index):
            draft.tool_end(index, out)
        elif (block := self._blocks.pop(index, None)) is not None:
            if fragments := self._block_json.pop(index, None):
                block = block | {"input": faults.document("".join(fragments).encode()) or {}}
            draft.opaque(str(block.get("type")), self._state(block))
        draft.close_block()

    def _citation(self, raw: dict[str, Any], out: list[Chunk]) -> None:
        self._citations.append(raw)
        self._draft.citation(
            Citation(
                url=raw.get("url") or raw.get("source"),
                title=raw.get("title") or raw.get("document_title"),
                cited_text=raw.get("cited_text"),
            ),
            out,
        )
        self._draft.text_state(self._state({"citations": list(self._citations)}))

    def _state(self, data: dict[str, Any]) -> State:
        return State(provider=self._route.provider, wire=self._route.wire, model=self._model, data=data)


def usage(raw: dict[str, Any]) -> Usage:
    """Return the provider's counts in the protocol's meaning: its `input_tokens` leaves out what touched the cache."""
    fresh, read, write = (
        _count(raw.get(key)) for key in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    writes, details = raw.get("cache_creation") or {}, raw.get("output_tokens_details") or {}
    return Usage(
        input_tokens=None if fresh is None else fresh + (read or 0) + (write or 0),
        output_tokens=_count(raw.get("output_tokens")),
        cache_read_tokens=read,
        cache_write_tokens=write,
        cache_write_1h_tokens=_count(writes.get("ephemeral_1h_input_tokens")),
        reasoning_tokens=_count(details.get("thinking_tokens")),
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def decode_whole(body: bytes, route: Route) -> tuple[Decoder, list[Chunk]]:
    """Return the decoder and the chunks of a reply that came as one JSON document.

    Raises: SidecarError for an error document or for anything that is no message.
    """
    message = faults.document(body)
    if isinstance(message, dict) and message.get("error"):
        raise faults.judge(_fault(message), None, {}, ERRORS)
    if not isinstance(message, dict) or message.get("type") != "message":
        raise faults.unexpected_body()
    decoder, out = Decoder(route), list[Chunk]()
    decoder._message(message, out)  # noqa: SLF001 - same module
    decoder.finished = decoder._stop_reason is not None  # noqa: SLF001
    return decoder, out


# --- errors ----------------------------------------------------------------------------------

_SPEND = Rule("quota_exceeded", hint="A spend limit of the organization is reached.")

ERRORS: dict[str, Rule] = {
    "authentication_error": Rule("auth_failed"),
    "permission_error": Rule("permission_denied"),
    "billing_error": Rule("quota_exceeded"),
    "not_found_error": Rule("model_not_found"),
    "request_too_large": Rule("invalid_request"),
    "rate_limit_error": Rule("rate_limited"),
    "overloaded_error": Rule("provider_overloaded"),
    "api_error": Rule("provider_error"),
    "timeout_error": Rule("provider_error"),
    "enforced_spend_limit_reached": _SPEND,
    "contract_spend_limit_reached": _SPEND,
    "organization_on_hold": Rule("permission_denied"),
}
"""By `error.details.error_code`, then `error.type`. Source: anthropic 2.11.0 `types/shared/error_type.py`."""


def classify(status: int, headers: dict[str, str], body: bytes) -> SidecarError:
    """Return the failure of an HTTP error reply."""
    raw = faults.document(body)
    fault = _fault(raw) if isinstance(raw, dict) else faults.Fault(message=faults.text(body))
    return faults.judge(fault, status, headers, ERRORS)


def _fault(raw: dict[str, Any]) -> faults.Fault:
    error = raw.get("error")
    if not isinstance(error, dict):
        return faults.Fault(message=str(error or raw.get("message") or ""))
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    request_id = raw.get("request_id")
    return faults.Fault(
        message=str(error.get("message") or ""),
        codes=faults.words(code, error.get("type")),
        request_id=request_id if isinstance(request_id, str) else None,
    )
