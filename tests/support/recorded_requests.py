"""The request bodies of recorded exchanges as chats of ours: what was asked, in the protocol's own words.

Independent of the encoders, which go the other way. A request that cannot be said in those words (a provider's own
tools, a file or an answer that is kept at the provider) raises `Unsayable`.
"""

import base64
import json
from typing import Any

import msgspec

from protocol.requests import Chat
from tests.support.corpus import Exchange

Json = dict[str, Any]


class Unsayable(Exception):  # noqa: N818 - no error: such a request is left out
    """What the request holds that a chat has no word for."""


def chat_of(exchange: Exchange) -> Chat:
    """Return the chat that *exchange* asks.

    Raises: Unsayable.
    """
    body = json.loads((exchange.path / "request.json").read_text(encoding="utf-8"))
    if not isinstance(body, dict):
        raise Unsayable("a body that is no object")
    made: Json = READERS[exchange.api](body)
    made["messages"] = [message for message in made["messages"] if message["content"] != []]
    model = str(exchange.meta["model"])
    return msgspec.convert({"model": model} | made, Chat)


def _only(found: Any, *kinds: str) -> None:
    if found not in kinds:
        raise Unsayable(str(found))


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _text(value: str) -> Json:
    return {"type": "text", "text": value}


def _call(call_id: Any, name: str, arguments: Any) -> Json:
    return {"type": "tool_call", "id": str(call_id or ""), "name": name, "arguments_text": _json(arguments)}


def _result(call_id: Any, content: Any) -> Json:
    return {"type": "tool_result", "id": str(call_id or ""), "content": content}


def _media(url: str, kind: str = "image", **more: Any) -> Json:
    if not url.startswith("data:"):
        return {"type": kind, "url": url} | more
    head, _, data = url.partition(",")
    return {"type": kind, "media_type": head.removeprefix("data:").partition(";")[0], "data": data} | more


def _tool(function: Json, schema: str = "parameters") -> Json:
    name, description = function["name"], function.get("description")
    return {"name": name, "description": description, "parameters": function.get(schema) or {}}


def _format(schema: Json | None) -> Json:
    return {"response_format": {"type": "json_schema", "schema": schema}} if schema else {}


def _chat(messages: list[Json], tools: list[Json], options: Json | None = None) -> Json:
    return {"messages": messages, "options": {"tools": tools} | (options or {})}


# --- Chat Completions ------------------------------------------------------------------------

_ROLES = {"developer": "system", "model": "assistant", "function": "tool", None: "user"}


def _role(raw: Any) -> str:
    return str(_ROLES.get(raw, raw))


def _openai_chat(body: Json) -> Json:
    for tool in body.get("tools") or ():
        _only(tool.get("type"), "function")
    form = (body.get("response_format") or {}).get("json_schema") or {}
    asked = {"reasoning": {"effort": body["reasoning_effort"]}} if body.get("reasoning_effort") else {}
    tools = [_tool(tool["function"]) for tool in body.get("tools") or ()]
    return _chat([_openai_message(each) for each in body["messages"]], tools, _format(form.get("schema")) | asked)


def _openai_message(raw: Json) -> Json:
    content = raw.get("content") or ""
    if raw["role"] == "tool":
        return {"role": "tool", "content": [_result(raw.get("tool_call_id"), _joined(content))]}
    parts = [_text(content)] if isinstance(content, str) and content else [_openai_part(each) for each in content]
    if content == "" and not raw.get("tool_calls"):
        return {"role": _role(raw["role"]), "content": ""}
    calls = [(call.get("id"), call["function"]) for call in raw.get("tool_calls") or ()]
    parts += [_call(call_id, function["name"], function["arguments"]) for call_id, function in calls]
    return {"role": _role(raw["role"]), "content": parts}


def _joined(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _openai_part(raw: Json) -> Json:
    match raw["type"]:
        case "text":
            return _text(raw["text"])
        case "image_url":
            detail = raw["image_url"].get("detail")
            return _media(raw["image_url"]["url"], **({"detail": detail} if detail else {}))
        case "file" if "file_data" in raw["file"]:
            return _media(raw["file"]["file_data"], "file")
    raise Unsayable(raw["type"])


# --- Responses -------------------------------------------------------------------------------


def _responses(body: Json) -> Json:
    if body.get("previous_response_id"):
        raise Unsayable("an answer that is kept at the provider")
    for tool in body.get("tools") or ():
        _only(tool["type"], "function")
        _only(tool.get("defer_loading"), None, False)  # type: ignore[arg-type]
    given = body.get("input", "")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    system = [{"role": "system", "content": body["instructions"]}] if body.get("instructions") else []
    form = (body.get("text") or {}).get("format") or {}
    tools = [_tool(tool) for tool in body.get("tools") or ()]
    return _chat([*system, *map(_responses_item, items)], tools, _format(form.get("schema")))


def _responses_item(raw: Json) -> Json:
    match raw.get("type", "message"):
        case "message":
            content = raw["content"]
            parts = [_text(content)] if isinstance(content, str) else [_responses_part(each) for each in content]
            return {"role": _role(raw["role"]), "content": parts}
        case "function_call":
            return {"role": "assistant", "content": [_call(raw["call_id"], raw["name"], raw["arguments"])]}
        case "function_call_output":
            return {"role": "tool", "content": [_result(raw["call_id"], _json(raw["output"]))]}
        case "reasoning" if not raw.get("encrypted_content"):
            return {"role": "assistant", "content": []}
    raise Unsayable(raw["type"])


def _responses_part(raw: Json) -> Json:
    match raw["type"]:
        case "input_text" | "output_text":
            return _text(raw["text"])
        case "input_image" if raw.get("image_url"):
            return _media(raw["image_url"])
        case "input_file" if raw.get("file_data"):
            return _media(raw["file_data"], "file")
    raise Unsayable(raw["type"])


# --- Messages --------------------------------------------------------------------------------


def _anthropic(body: Json) -> Json:
    for tool in body.get("tools") or ():
        _only(tool.get("type"), None, "custom")  # type: ignore[arg-type]
        if tool.get("defer_loading"):
            raise Unsayable("a tool that is loaded later")
    if body.get("context_management"):
        raise Unsayable("context_management")
    system = [{"role": "system", "content": _blocks(body["system"])}] if body.get("system") else []
    turns = [{"role": each["role"], "content": _blocks(each["content"])} for each in body["messages"]]
    form = (body.get("output_config") or {}).get("format") or {}
    options = _format(form.get("schema")) | _thinking(body.get("thinking"))
    tools = [_tool(tool, "input_schema") for tool in body.get("tools") or ()]
    return _chat([*system, *map(_retold, turns)], tools, options)


def _thinking(raw: Json | None) -> Json:
    wanted = raw is not None and raw.get("type") != "disabled"
    return {"reasoning": {"effort": "medium"}} if wanted else {}


def _retold(turn: Json) -> Json:
    is_result = any(part["type"] == "tool_result" for part in turn["content"])
    return turn | {"role": "tool" if is_result else turn["role"]}


def _blocks(content: Any) -> list[Json]:
    return [_text(content)] if isinstance(content, str) else [_block(each) for each in content]


def _block(raw: Json) -> Json:
    match raw["type"]:
        case "text":
            return _text(raw["text"])
        case "thinking":
            return {"type": "reasoning", "content": raw["thinking"]}
        case "tool_use":
            return _call(raw["id"], raw["name"], raw["input"])
        case "tool_result":
            inner = raw.get("content") or ""
            return _result(raw["tool_use_id"], inner if isinstance(inner, str) else _blocks(inner))
        case "image" | "document" if raw["source"]["type"] == "base64":
            source = raw["source"]
            kind = "image" if raw["type"] == "image" else "file"
            return {"type": kind, "media_type": source["media_type"], "data": source["data"]}
    raise Unsayable(raw["type"])


# --- Gemini ----------------------------------------------------------------------------------


def _gemini(body: Json) -> Json:
    request = body.get("generateContentRequest", body)
    declared = [each for tool in request.get("tools") or () for each in _declared(tool)]
    raw_system = request.get("systemInstruction") or request.get("system_instruction") or {}
    texts = raw_system.get("parts") or []
    system = [_text(each["text"]) for each in (texts if isinstance(texts, list) else [texts]) if each.get("text")]
    turns = [
        {"role": _role(each.get("role")), "content": [_gemini_part(part) for part in each["parts"]]}
        for each in request["contents"]
    ]
    config = request.get("generationConfig") or {}
    named = ("responseJsonSchema", "responseSchema", "response_schema")
    schema = next((config[key] for key in named if key in config), None)
    tools = [_tool(each, "parameters" if "parameters" in each else "parametersJsonSchema") for each in declared]
    return _chat([{"role": "system", "content": system}, *map(_retold, turns)], tools, _format(schema))


def _declared(tool: Json) -> list[Json]:
    if set(tool) - {"functionDeclarations", "function_declarations"}:
        raise Unsayable(", ".join(tool))
    found: list[Json] = tool.get("functionDeclarations") or tool.get("function_declarations") or []
    return found


def _gemini_part(raw: Json) -> Json:
    call = raw.get("functionCall") or raw.get("function_call")
    result = raw.get("functionResponse") or raw.get("function_response")
    inline = raw.get("inlineData") or raw.get("inline_data")
    if "text" in raw:
        return {"type": "reasoning", "content": raw["text"]} if raw.get("thought") else _text(raw["text"])
    if call:
        signature = raw.get("thoughtSignature") or raw.get("thought_signature")
        state = {"provider": "gemini", "wire": "gemini", "data": {"thoughtSignature": signature}} if signature else None
        return _call(call.get("id"), call["name"], call.get("args") or {}) | {"state": state}
    if result:
        return _result(result.get("id"), _json(result["response"]))
    if inline:
        media_type = inline.get("mimeType") or inline.get("mime_type")
        kind = "image" if media_type.startswith("image/") else "file"
        return {"type": kind, "media_type": media_type, "data": inline["data"]}
    raise Unsayable(", ".join(raw))


# --- Converse --------------------------------------------------------------------------------


def _converse(body: Json) -> Json:
    if body.get("guardrailConfig"):
        raise Unsayable("guardrailConfig")
    tools = []
    for tool in (body.get("toolConfig") or {}).get("tools") or ():
        if "toolSpec" not in tool:
            raise Unsayable(", ".join(tool))
        spec = tool["toolSpec"]
        tools.append(_tool(spec) | {"parameters": spec["inputSchema"]["json"]})
    system = [_text(each["text"]) for each in body.get("system") or () if "text" in each]
    turns = [{"role": each["role"], "content": _converse_parts(each["content"])} for each in body["messages"]]
    own = body.get("additionalModelRequestFields") or {}
    thinking = own.get("thinking") or own.get("reasoning_config")
    return _chat([{"role": "system", "content": system}, *map(_retold, turns)], tools, _thinking(thinking))


def _converse_parts(content: list[Json]) -> list[Json]:
    return [_converse_part(each) for each in content if "cachePoint" not in each]


def _converse_part(raw: Json) -> Json:
    if "text" in raw:
        return _text(raw["text"])
    if "toolUse" in raw:
        return _call(raw["toolUse"]["toolUseId"], raw["toolUse"]["name"], raw["toolUse"]["input"])
    if "toolResult" in raw:
        result = raw["toolResult"]
        inner = [_text(each["text"] if "text" in each else _json(each["json"])) for each in result["content"]]
        return _result(result["toolUseId"], inner)
    if "image" in raw and "bytes" in raw["image"]["source"]:
        image = raw["image"]
        return {"type": "image", "media_type": f"image/{image['format']}", "data": image["source"]["bytes"]}
    raise Unsayable(", ".join(raw))


def _invoke(body: Json) -> Json:
    return _anthropic(body)


def _bedrock_count(body: Json) -> Json:
    asked = body["input"]
    if "converse" in asked:
        return _converse(asked["converse"])
    return _anthropic(json.loads(base64.b64decode(asked["invokeModel"]["body"])))


# --- Ollama ----------------------------------------------------------------------------------


def _ollama_chat(body: Json) -> Json:
    tools = [_tool(tool["function"]) for tool in body.get("tools") or ()]
    return _chat([_openai_message(each) for each in body["messages"]], tools)


def _ollama_generate(body: Json) -> Json:
    if body.get("template"):
        raise Unsayable("template")
    system = [{"role": "system", "content": body["system"]}] if body.get("system") else []
    return _chat([*system, {"role": "user", "content": body["prompt"]}], [])


READERS = {
    "openai.chat": _openai_chat,
    "openai.responses": _responses,
    "openai.count_tokens": _responses,
    "anthropic.messages": _anthropic,
    "anthropic.count_tokens": _anthropic,
    "gemini.stream": _gemini,
    "gemini.count_tokens": _gemini,
    "bedrock.converse_stream": _converse,
    "bedrock.invoke_stream": _invoke,
    "bedrock.count_tokens": _bedrock_count,
    "ollama.chat": _ollama_chat,
    "ollama.generate": _ollama_generate,
}
