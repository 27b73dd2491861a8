"""A chat → the request of Gemini's `streamGenerateContent`. [pure]

Knows the request's options; `turns` encodes the messages, `thinking` the reasoning. Must not know
the answer. Sources: google-genai 3.4.0 (`types.py`, `models.py`, `_transformers.py`) and
https://ai.google.dev/gemini-api/docs/function-calling, read 2026-11.
"""

from typing import Any
from urllib.parse import quote

import msgspec

from protocol.options import NamedTool, Options
from protocol.replies import Warn
from protocol.requests import Chat
from sidecar.core.errors import invalid_request
from sidecar.core.http import HttpRequest
from sidecar.wires.gemini.thinking import encode_thinking
from sidecar.wires.gemini.turns import encode_conversation
from sidecar.wires.shared.options import describe_left_out, drop_refused_options, list_stops
from sidecar.wires.shared.types import Encoded, Route


def encode(chat: Chat, route: Route) -> Encoded:
    """Return the streaming request for *chat*.

    Raises: SidecarError `invalid_request` for content that the API cannot carry.
    """
    warnings: list[Warn] = []
    options = drop_refused_options(chat.options, route, warnings)
    system, contents = encode_conversation(chat.messages, route)
    body: dict[str, Any] = {"contents": contents}
    if system:
        body["systemInstruction"] = {"parts": system}
    if options.tools and "tools" in route.facts.refuses:
        warnings.append(describe_left_out("tools", route))
    elif options.tools:
        body |= _encode_tools(options)
    if options.parallel_tool_calls is False:
        warnings.append(describe_left_out("parallel_tool_calls", route))
    if config := _encode_generation_config(options, route, warnings):
        body["generationConfig"] = config
    return Encoded(
        HttpRequest(
            method="POST",
            url=route.base_url + _make_path(route),
            headers={"content-type": "application/json"} | route.headers,
            body=msgspec.json.encode(_merge_objects(body, chat.options.provider_options)),
        ),
        warnings,
    )


_FOLDERS = ("models/", "tunedModels/")


def _make_path(route: Route) -> str:
    model = route.model
    if any(mark in model for mark in ("..", "?", "&")):
        raise invalid_request("`params.model` must not contain `..`, `?` or `&`.", "params.model")
    if route.path is not None:
        return route.path
    name = model if model.startswith(_FOLDERS) else f"models/{model}"
    return f"/v1beta/{quote(name, safe='/@')}:streamGenerateContent?alt=sse"


def _merge_objects(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Return *ours* with *theirs* laid over it, object by object: most options stand in an object of their own."""
    merged = dict(ours)
    for key, value in theirs.items():
        inner = ours.get(key)
        merged[key] = _merge_objects(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}


def _encode_tools(options: Options) -> dict[str, Any]:
    declarations = []
    for tool in options.tools:
        function: dict[str, Any] = {"name": tool.name, "parametersJsonSchema": tool.parameters}
        if tool.description is not None:
            function["description"] = tool.description
        declarations.append(function)
    fields: dict[str, Any] = {"tools": [{"functionDeclarations": declarations}]}
    choice = options.tool_choice
    if isinstance(choice, NamedTool):
        calling = {"mode": "ANY", "allowedFunctionNames": [choice.name]}
        fields["toolConfig"] = {"functionCallingConfig": calling}
    elif choice is not None:
        fields["toolConfig"] = {"functionCallingConfig": {"mode": _MODES[choice]}}
    return fields


def _encode_generation_config(options: Options, route: Route, warnings: list[Warn]) -> dict[str, Any]:
    fields = {
        "maxOutputTokens": options.max_tokens,
        "temperature": options.temperature,
        "topP": options.top_p,
        "stopSequences": list_stops(options) or None,
        "seed": options.seed,
    }
    config: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    response_format = options.response_format
    if response_format is not None and response_format.type != "text":
        config["responseMimeType"] = "application/json"
        if response_format.type == "json_schema" and response_format.schema is not None:
            config["responseJsonSchema"] = response_format.schema
    if options.reasoning is not None and (thinking := encode_thinking(options, options.reasoning, route, warnings)):
        config["thinkingConfig"] = thinking
    return config
