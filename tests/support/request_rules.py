"""The documented rules of each wire's requests: a body → what it breaks, in words.

Written from the providers' documents and SDKs, not from the encoders.
"""

import json
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

Json = dict[str, Any]
Problems = Iterator[str]


def _unique(ids: list[str], what: str) -> Problems:
    if len(set(ids)) != len(ids):
        yield f"{what}: an id comes twice in {ids}"


def _alternating(turns: list[Json], assistant: str) -> Problems:
    roles = [turn["role"] for turn in turns]
    if set(roles) - {"user", assistant}:
        yield f"unknown roles among {roles}"
    if roles[:1] != ["user"] or any(first == second for first, second in pairwise(roles)):
        yield f"roles do not alternate from the user on: {roles}"


def _never_blank(texts: list[str]) -> Problems:
    if not all(text.strip() for text in texts):
        yield "a blank text"


def _answered_at_once(asked: list[list[str]], answered: list[list[str]], led: list[bool]) -> Problems:
    """Of turns in turn: every call is answered in the next user turn, by nothing else and before anything else."""
    for calls, results, first in zip(asked, answered, led, strict=True):
        if sorted(calls) != sorted(results):
            yield f"the calls {calls} are answered by {results}"
        if not first:
            yield "something stands before the results"


# --- Messages API ----------------------------------------------------------------------------

_ANTHROPIC_ID = re.compile("[a-zA-Z0-9_-]+")
_ANTHROPIC_NAME = re.compile("[a-zA-Z0-9_-]{1,128}")


def anthropic_messages(body: Json) -> Problems:
    """Yield what *body* breaks."""
    turns = body["messages"]
    yield from _alternating(turns, "assistant")
    blocks = [block for turn in turns for block in turn["content"]]
    uses = [block for block in blocks if block["type"] == "tool_use"]
    for use in uses:
        if not (_ANTHROPIC_ID.fullmatch(use["id"]) and _ANTHROPIC_NAME.fullmatch(use["name"])):
            yield f"alphabet of {use['id']!r} or {use['name']!r}"
        if not isinstance(use["input"], dict):
            yield "an input that is no object"
    yield from _unique([use["id"] for use in uses], "tool_use")
    yield from _never_blank([block["text"] for block in blocks if block["type"] == "text"])
    yield from _answered_at_once(*_pairs(turns, _anthropic_call, _anthropic_result))
    if any(block["type"] == "thinking" and not block.get("signature") for block in blocks):
        yield "thinking without its signature"
    if any(block.get("citations") for turn in turns if turn["role"] == "user" for block in turn["content"]):
        yield "citations in a user turn"


def _anthropic_call(block: Json) -> str | None:
    return block["id"] if block["type"] == "tool_use" else None


def _anthropic_result(block: Json) -> str | None:
    return block["tool_use_id"] if block["type"] == "tool_result" else None


Reader = Callable[[Json], str | None]


def _pairs(
    turns: list[Json], call: Reader, result: Reader, assistant: str = "assistant", parts: str = "content"
) -> tuple[list[list[str]], list[list[str]], list[bool]]:
    """Return for each turn of the user the calls before it, its results, and whether those come first."""
    asked, answered, led = [], [], []
    before: list[str] = []
    for turn in turns:
        if turn["role"] == assistant:
            before = [each for block in turn[parts] if (each := call(block)) is not None]
            continue
        found = [result(block) for block in turn[parts]]
        results = [each for each in found if each is not None]
        asked.append(before)
        answered.append(results)
        led.append(all(each is not None for each in found[: len(results)]))
        before = []
    return asked, answered, led


# --- Bedrock ---------------------------------------------------------------------------------

_BEDROCK_ID = re.compile("[a-zA-Z0-9_.:-]{1,64}")
_BEDROCK_NAME = re.compile("[a-zA-Z0-9_-]{1,64}")


def bedrock_converse(body: Json) -> Problems:
    """Yield what *body* breaks."""
    turns = body["messages"]
    yield from _alternating(turns, "assistant")
    blocks = [block for turn in turns for block in turn["content"]]
    if any(len(block) != 1 for block in blocks):
        yield "a block with more or less than one key"
    uses = [block["toolUse"] for block in blocks if "toolUse" in block]
    for use in uses:
        if not (_BEDROCK_ID.fullmatch(use["toolUseId"]) and _BEDROCK_NAME.fullmatch(use["name"])):
            yield f"alphabet of {use['toolUseId']!r} or {use['name']!r}"
        if not isinstance(use["input"], dict):
            yield "an input that is no object"
    yield from _unique([use["toolUseId"] for use in uses if "type" not in use], "toolUse")
    if any("toolUse" in block or "toolResult" in block for block in blocks) and not body.get("toolConfig"):
        yield "blocks of tools without toolConfig"
    yield from _never_blank([block["text"] for block in blocks if "text" in block])
    for block in blocks:
        thought = block.get("reasoningContent", {})
        if thought and not (thought.get("redactedContent") or thought["reasoningText"].get("signature")):
            yield "reasoning without its signature"
    yield from _answered_at_once(*_pairs(turns, _bedrock_call, _bedrock_result))


def _bedrock_call(block: Json) -> str | None:
    # One with a type is the provider's own tool: it has answered that itself.
    return block["toolUse"]["toolUseId"] if "type" not in block.get("toolUse", {"type": ""}) else None


def _bedrock_result(block: Json) -> str | None:
    return block["toolResult"]["toolUseId"] if "toolResult" in block else None


# --- Gemini ----------------------------------------------------------------------------------

_GEMINI_NAME = re.compile("[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}")


def gemini(body: Json) -> Problems:
    """Yield what *body* breaks."""
    turns = body["contents"]
    if any(first["role"] == second["role"] for first, second in pairwise(turns)) or turns[-1]["role"] != "user":
        yield f"turns of one role are not merged, or the model's is the last: {[turn['role'] for turn in turns]}"
    parts = [part for turn in turns for part in turn["parts"]]
    for part in parts:
        call, response = part.get("functionCall"), part.get("functionResponse")
        if call and not (_GEMINI_NAME.fullmatch(call["name"]) and isinstance(call["args"], dict)):
            yield f"a call {call['name']!r}"
        if response and not isinstance(response["response"], dict):
            yield "a response that is no object"
        if part.get("text") == "" and "thoughtSignature" not in part:
            yield "an empty text"
        if part.get("thought") and "text" in part and "thoughtSignature" not in part:
            yield "a thought without its signature"
    for calls, results, first in zip(*_pairs(turns, _gemini_call, _gemini_response, "model", "parts"), strict=True):
        if calls != results:
            yield f"the calls {calls} are answered by {results}"
        if not first:
            yield "something stands before the responses"


def _gemini_call(part: Json) -> str | None:
    return _named(part.get("functionCall"))


def _gemini_response(part: Json) -> str | None:
    return _named(part.get("functionResponse"))


def _named(function: Json | None) -> str | None:
    return f"{function['name']} {function.get('id')}" if function else None


# --- Chat Completions ------------------------------------------------------------------------

_FUNCTION_NAME = re.compile("[a-zA-Z0-9_-]{1,64}")


def openai_chat(body: Json) -> Problems:
    """Yield what *body* breaks."""
    waiting: list[str] = []
    for message in body["messages"]:
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                yield f"a result of {message['tool_call_id']!r}, which does not wait"
            else:
                waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            yield f"{waiting} lack a result right after"
        waiting = [call["id"] for call in message.get("tool_calls", ())]
        yield from _said(message)
    if waiting:
        yield f"{waiting} lack a result at the end"
    calls = [call["id"] for message in body["messages"] for call in message.get("tool_calls", ())]
    yield from _unique(calls, "tool_calls")


def _said(message: Json) -> Problems:
    for call in message.get("tool_calls", ()):
        function = call["function"]
        if not (call["type"] == "function" and isinstance(function["arguments"], str)):
            yield "a call that is none"
        if not _FUNCTION_NAME.fullmatch(function["name"]):
            yield f"alphabet of {function['name']!r}"
    if not (message.get("content") or message.get("tool_calls") or message.get("refusal")):
        yield f"a message of {message['role']} that says nothing"


def nine_letters(body: Json) -> Problems:
    """Yield what *body* breaks of the rules of one imitation: ids of nine letters, no user right after a tool."""
    for before, message in zip([{"role": ""}, *body["messages"]], body["messages"], strict=False):
        ids = [call["id"] for call in message.get("tool_calls", ())]
        if message["role"] == "tool":
            ids.append(message["tool_call_id"])
        if bad := [each for each in ids if not re.fullmatch("[a-zA-Z0-9]{9}", each)]:
            yield f"ids that are not nine letters and digits: {bad}"
        if before["role"] == "tool" and message["role"] not in ("tool", "assistant"):
            yield f"{message['role']} right after tool"


# --- Responses -------------------------------------------------------------------------------

_OUTPUTS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}


def openai_responses(body: Json) -> Problems:
    """Yield what *body* breaks."""
    items = body["input"]
    for kind, output in _OUTPUTS.items():
        # One with a status is the provider's own, which has run it itself.
        calls = [item["call_id"] for item in items if item["type"] == kind and not item.get("status")]
        results = [item["call_id"] for item in items if item["type"] == output]
        if sorted(calls) != sorted(results):
            yield f"the calls {calls} are answered by {results}"
        yield from _unique(calls, kind)
        if any(not 0 < len(each) <= 64 for each in calls):
            yield "the length of an id"
        for at, item in enumerate(items):
            if item["type"] == output and item["call_id"] not in [each.get("call_id") for each in items[:at]]:
                yield "a result before its call"
    for item in items:
        if item["type"] == "function_call" and not (
            _FUNCTION_NAME.fullmatch(item["name"]) and isinstance(item["arguments"], str)
        ):
            yield f"a call {item['name']!r}"
        if item["type"] == "message" and not item["content"]:
            yield "a message without content"
        if item["type"] == "reasoning" and not (item.get("encrypted_content") or item.get("content")):
            yield "a reasoning item that names nothing, as none is stored"


# --- Ollama and Workers AI -------------------------------------------------------------------


def ollama(body: Json) -> Problems:
    """Yield what *body* breaks."""
    names: dict[str, str] = {}
    for message in body["messages"]:
        if not isinstance(message["content"], str):
            yield "content that is no text"
        for call in message.get("tool_calls", ()):
            if not isinstance(call["function"]["arguments"], dict):
                yield "arguments that are no object"
            names[call["id"]] = call["function"]["name"]
        if message["role"] == "tool" and names.pop(message["tool_call_id"], None) != message.get("tool_name"):
            yield f"a result of {message['tool_call_id']!r} that belongs to no call of that name"
    if names:
        yield f"{list(names)} lack a result"


def cloudflare(body: Json) -> Problems:
    """Yield what *body* breaks."""
    waiting: list[str] = []
    for message in body["messages"]:
        if not isinstance(message["content"], str):
            yield "content that is no text"
        if not isinstance(json.dumps(message.get("tool_calls", [])), str):
            yield "calls that are no JSON"
        for call in message.get("tool_calls", ()):
            if not isinstance(call["arguments"], dict):
                yield "arguments that are no object"
            waiting.append(call["id"])
        if message["role"] == "tool":
            if message["tool_call_id"] in waiting:
                waiting.remove(message["tool_call_id"])
            else:
                yield f"a result of {message['tool_call_id']!r}, which does not wait"
    if waiting:
        yield f"{waiting} lack a result"


RULES: dict[str, Callable[[Json], Problems]] = {
    "anthropic_messages": anthropic_messages,
    "bedrock_converse": bedrock_converse,
    "cloudflare": cloudflare,
    "gemini": gemini,
    "ollama": ollama,
    "openai_chat": openai_chat,
    "openai_responses": openai_responses,
}
"""By wire."""
