"""What the chunks of Chat Completions are made of, and how tool calls, reasoning and counts come together. [pure]

Must not know when a stream ends or how it fails. Sources: openai 3.52.0
(`types/chat/chat_completion_chunk.py`, `types/completion_usage.py`), openrouter 1.3.84
(`reasoning_details`), Copilot's `reasoning_text` and xAI's OpenAPI, read 2026-11.
"""

from typing import Any

import msgspec

from protocol.messages import State, Usage
from protocol.replies import Chunk
from sidecar.wires.shared import costs
from sidecar.wires.shared.draft import Draft
from sidecar.wires.shared.tool_calls import parse_arguments
from sidecar.wires.shared.types import Route

TICK_USD = "0.0000000001"
"""One of `cost_in_usd_ticks`."""

# --- chunks ----------------------------------------------------------------------------------

# What has no fixed type among the imitations is `Any`, and looked at where it is used.


class Function(msgspec.Struct, gc=False):
    """Name and arguments of a call, whole or in pieces."""

    name: Any = None
    arguments: Any = None
    thought_signature: Any = None


class CallDelta(msgspec.Struct, gc=False):
    """A piece of a tool call."""

    index: Any = None
    id: Any = None
    type: Any = None
    function: Function | None = None
    extra_content: Any = None


class Delta(msgspec.Struct, gc=False):
    """A piece of the message, or all of it."""

    content: Any = None
    tool_calls: list[CallDelta | None] | None = None
    reasoning: Any = None
    reasoning_content: Any = None
    reasoning_text: Any = None
    reasoning_opaque: Any = None
    reasoning_details: Any = None
    refusal: Any = None
    annotations: Any = None
    function_call: Function | None = None


class Choice(msgspec.Struct, gc=False):
    """One of the answers."""

    index: Any = None
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: Any = None
    error: Any = None


class ChatChunk(msgspec.Struct, gc=False):
    """One event of a stream, or a whole completion."""

    choices: list[Choice | None] | None = None
    usage: Any = None
    error: Any = None
    id: Any = None
    model: Any = None
    object: Any = None
    citations: Any = None


def extensions(document: object) -> list[dict[str, Any]]:
    """Return the objects under the `x_…` of a chunk, where providers put what has no place in Chat Completions."""
    fields = document.items() if isinstance(document, dict) else ()
    return [value for name, value in fields if name.startswith("x_") and isinstance(value, dict)]


def text_of(value: object) -> str:
    """Return *value* when it is a string, else nothing."""
    return value if isinstance(value, str) else ""


def joined(value: object) -> str:
    """Return the text of a list of text parts, or of a string."""
    if isinstance(value, list):
        return "".join(text_of(each.get("text")) for each in value if isinstance(each, dict))
    return text_of(value)


def state_of(route: Route, data: dict[str, Any]) -> State:
    """Return *data* as state that only this model takes back."""
    return State(provider=route.provider, wire=route.wire, model=route.model, data=data)


# --- tool calls ------------------------------------------------------------------------------


class _Open:
    """A call under way; `server` is the one that the provider answers itself, kept as it is."""

    __slots__ = ("given_id", "key", "name", "server", "state")

    def __init__(self, key: int, given_id: str, name: str) -> None:
        self.key = key
        self.given_id = given_id
        self.name = name
        self.server: dict[str, Any] | None = None
        self.state: dict[str, Any] = {}


class Calls:
    """Which call a piece belongs to: by index and id, where either may be missing, repeated or used again."""

    def __init__(self, draft: Draft, route: Route) -> None:
        self._draft = draft
        self._route = route
        self._count = 0
        self._places: dict[tuple[int, Any], _Open] = {}
        """The newest call by choice and index; under index None, the newest of the choice."""
        self._ids: dict[str, _Open] = {}

    def take(self, piece: CallDelta, choice: int, out: list[Chunk]) -> None:
        """Append what *piece* says to *out*."""
        function = piece.function or Function()
        given_id, name = _id(piece.id), text_of(function.name)
        arguments = _arguments(function.arguments)
        place = (choice, piece.index if isinstance(piece.index, int | str) else None)
        call = self._find(place, given_id, name)
        if call is None:
            if not (given_id or name or arguments):
                return
            call = self._begin(place, given_id, name, text_of(piece.type), out)
        if call.server is not None:
            call.server["function"]["arguments"] += arguments
            return
        if name and not call.name:
            call.name = name
            self._draft.name_call(call.key, name)
        self._draft.add_arguments(call.key, arguments, out)
        if piece.extra_content or function.thought_signature:
            self._sign(call, piece.extra_content, function.thought_signature)

    def _find(self, place: tuple[int, Any], given_id: str, name: str) -> _Open | None:
        """Return the call that goes on, or None for a new one."""
        found = self._places.get(place)
        if found is None:
            # The index drifts: an id that is known goes on, and so does a piece that names nothing.
            if given_id:
                other = self._ids.get(given_id)
                return other if other is not None and self._goes_on(other, name) else None
            return None if name else self._places.get((place[0], None))
        if not given_id or not found.given_id:
            return found if self._goes_on(found, name) else None
        if given_id == found.given_id:
            return found
        if (other := self._ids.get(given_id)) is not None and self._goes_on(other, name):
            return other
        # A new id begins a new call, unless it comes with every piece and names nothing.
        return None if name or self._is_whole(found) else found

    def _goes_on(self, call: _Open, name: str) -> bool:
        return not name or not call.name or (name == call.name and not self._is_whole(call))

    def _is_whole(self, call: _Open) -> bool:
        if call.server is not None:
            return True
        text = self._draft.get_arguments_text(call.key).rstrip()
        return text.endswith("}") and parse_arguments(text) is not None

    def _begin(self, place: tuple[int, Any], given_id: str, name: str, kind: str, out: list[Chunk]) -> _Open:
        call = _Open(self._count, given_id, name)
        self._count += 1
        if kind in ("", "function"):
            before = self._places.get(place) if place[1] is not None else None
            if before is not None and before.server is None and self._is_whole(before):
                self._draft.end_call(before.key, out)
            # Results are matched by id, so that no two calls may share one.
            unique = f"{given_id}_{call.key}" if given_id in self._ids else given_id
            self._draft.begin_call(call.key, unique, name, out)
        else:
            call.server = {"id": given_id, "type": kind, "function": {"name": name, "arguments": ""}}
            self._draft.add_opaque(kind, state_of(self._route, {"tool_call": call.server}))
        self._places[place] = self._places[place[0], None] = call
        if given_id:
            self._ids[given_id] = call
        return call

    def _sign(self, call: _Open, extra_content: Any, signature: Any) -> None:
        """Keep what must come back with the call, where it was found."""
        if extra_content:
            call.state["extra_content"] = extra_content
        if signature:
            call.state["function"] = {"thought_signature": signature}
        self._draft.set_call_state(call.key, state_of(self._route, call.state))


def _id(value: object) -> str:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else text_of(value)


def _arguments(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return msgspec.json.encode(value).decode()


# --- reasoning -------------------------------------------------------------------------------

_PIECES = ("text", "summary", "data", "signature")
"""The fields of a `reasoning_details` item that come in pieces."""


class Thoughts:
    """The readable reasoning, from the first field that has it, and what the provider wants back of it."""

    def __init__(self, draft: Draft, route: Route) -> None:
        self.under_way = False
        """Whether the draft's open part is reasoning."""
        self._draft = draft
        self._route = route
        self._echo = route.quirks.reasoning_echo
        self._kept: dict[str, Any] = {}
        """The state of the first part; filled until the end, wherever the pieces turn up."""
        self._is_kept = False
        self._details: dict[tuple[str, ...], dict[str, Any]] = {}
        self._pieces: dict[tuple[str, ...], dict[str, list[str]]] = {}

    def take(self, delta: Delta, out: list[Chunk]) -> bool:
        """Append the reasoning of *delta* to *out* and return whether there was any."""
        details = _objects(delta.reasoning_details) if delta.reasoning_details else ()
        # Some send the same text in several fields.
        text = text_of(delta.reasoning) or text_of(delta.reasoning_content) or text_of(delta.reasoning_text)
        if details and not text:
            text = "".join(text_of(each.get("text")) or text_of(each.get("summary")) for each in details)
        self.say(text, out)
        if self._echo == "reasoning_text" and delta.reasoning_opaque:
            self._kept["reasoning_opaque"] = delta.reasoning_opaque
        elif self._echo == "reasoning_details" and details:
            for each in details:
                self._add(each)
            self._kept["reasoning_details"] = []
        if self._kept and not self._is_kept:
            self._keep()
        return text != ""

    def say(self, text: str, out: list[Chunk]) -> None:
        """Append *text* to *out*."""
        if not text:
            return
        self._draft.add_reasoning(text, out)
        if self._echo and not self.under_way:
            self._keep()
        self.under_way = True

    def end(self) -> None:
        """Put the items together that came in pieces."""
        if self._details:
            self._kept["reasoning_details"] = [
                item | {name: "".join(pieces) for name, pieces in self._pieces[key].items()}
                for key, item in self._details.items()
            ]

    def _keep(self) -> None:
        """Mark the open part as this provider's; what is not text goes with the first."""
        self._draft.set_reasoning_state(state_of(self._route, {} if self._is_kept else self._kept))
        self._is_kept = self.under_way = True

    def _add(self, detail: dict[str, Any]) -> None:
        kind = str(detail.get("type"))
        # Encrypted items belong to calls, and share an index.
        key = (kind, str(detail.get("index")), str(detail.get("id")) if kind == "reasoning.encrypted" else "")
        item, pieces = self._details.setdefault(key, {}), self._pieces.setdefault(key, {})
        for name, value in detail.items():
            if name in _PIECES and isinstance(value, str):
                pieces.setdefault(name, []).append(value)
            if value is not None or name not in item:
                item[name] = value


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


# --- counts ----------------------------------------------------------------------------------


def count(value: object) -> int | None:
    """Return *value* when it is a count."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def usage(raw: dict[str, Any], *, outside: bool = False) -> Usage:
    """Return the provider's counts in the protocol's meaning; *outside* as in `Quirks.reasoning_outside_output`."""
    of_input, of_output = _dict(raw.get("prompt_tokens_details")), _dict(raw.get("completion_tokens_details"))
    given, written, total = (count(raw.get(f"{name}_tokens")) for name in ("prompt", "completion", "total"))
    reasoning = _first(of_output.get("reasoning_tokens"), raw.get("reasoning_tokens"))
    if written is not None and reasoning:
        # The sum tells whether the reasoning is part of the completion, where there is a sum.
        apart = outside if given is None or total is None else total == given + written + reasoning
        written += reasoning if apart else 0
    return Usage(
        input_tokens=given,
        output_tokens=written,
        cache_read_tokens=_first(
            of_input.get("cached_tokens"),
            raw.get("cached_tokens"),
            raw.get("prompt_cache_hit_tokens"),
            raw.get("cache_read_input_tokens"),
        ),
        cache_write_tokens=_first(of_input.get("cache_write_tokens"), raw.get("cache_creation_input_tokens")),
        reasoning_tokens=reasoning,
    )


def cost(raw: dict[str, Any]) -> str | None:
    """Return what the provider says that the request cost, in US dollars, exactly as it says it."""
    ticks = count(raw.get("cost_in_usd_ticks"))
    if ticks is not None:
        return costs.convert_to_usd(ticks, TICK_USD)
    value = raw.get("cost")
    return costs.convert_to_usd(value.get("total_cost") if isinstance(value, dict) else value)


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(*values: object) -> int | None:
    return next((found for value in values if (found := count(value)) is not None), None)
