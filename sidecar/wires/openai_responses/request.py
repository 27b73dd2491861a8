"""A chat → the request of OpenAI's Responses API, `POST /responses`. [pure]

Knows the options and which of them a model refuses; `input_items` encodes the messages. Must not know
the answer. Sources: openai 3.52.0 (`types/responses/response_create_params.py`) and the guides on
reasoning and on background mode, read 2026-11.
"""

from typing import Any
from urllib.parse import quote

import msgspec

from protocol.messages import Tool
from protocol.options import NamedTool, Options
from protocol.replies import Warn
from protocol.requests import Chat
from sidecar.core.http import HttpRequest
from sidecar.wires.openai_responses.input_items import encode_conversation, encode_system_text
from sidecar.wires.shared.options import (
    JSON_WORD,
    describe_left_out,
    drop_refused_options,
    get_json_format,
    lacks_json_word,
    list_stops,
    merge_provider_options,
    write_json_instruction,
)
from sidecar.wires.shared.tool_calls import make_name_fit
from sidecar.wires.shared.types import Encoded, Route


def encode(chat: Chat, route: Route) -> Encoded:
    """Return the streaming request for *chat*. Nothing of it is stored at the provider."""
    warnings: list[Warn] = []
    options = drop_refused_options(chat.options, route, warnings)
    body: dict[str, Any] = {
        "model": route.model,
        "input": encode_conversation(chat.messages, route, make_name_fit(options.tools)),
        "store": False,
        "stream": True,
    }
    if route.quirks.obfuscation_option:
        # The padding hides lengths from anyone who watches the line, and doubles the bytes.
        body["stream_options"] = {"include_obfuscation": False}
    if route.facts.reasoning is not False:
        body["include"] = ["reasoning.encrypted_content"]
    if options.max_tokens is not None:
        body["max_output_tokens"] = options.max_tokens
    if options.tools:
        _add_tools(body, options)
    _add_sampling(body, options, route, warnings)
    _add_reasoning(body, options, route, warnings)
    _add_text_format(body, options, route, warnings)
    if body.get("text") == {"format": {"type": "json_object"}} and lacks_json_word(chat):
        body["input"].insert(0, encode_system_text(JSON_WORD, route))
    return Encoded(
        HttpRequest(
            method="POST",
            url=f"{route.base_url}{route.path or '/responses'}",
            headers={"content-type": "application/json"} | route.headers,
            body=msgspec.json.encode(merge_provider_options(body, chat)),
        ),
        warnings,
    )


def continue_request(route: Route, response_id: str, starting_after: int | None) -> HttpRequest:
    """Return the request for the events of a background response after an event, or for all of them.

    The provider keeps such a response for some minutes.
    """
    url = _make_response_url(route, response_id, "")
    after = "" if starting_after is None else f"&starting_after={starting_after}"
    return HttpRequest(method="GET", url=f"{url}{'&' if '?' in url else '?'}stream=true{after}", headers=route.headers)


def cancel_request(route: Route, response_id: str) -> HttpRequest:
    """Return the request that cancels a background response; a second one does no harm."""
    return HttpRequest(method="POST", url=_make_response_url(route, response_id, "/cancel"), headers=route.headers)


def _make_response_url(route: Route, response_id: str, suffix: str) -> str:
    path, mark, query = (route.path or "/responses").partition("?")
    return f"{route.base_url}{path}/{quote(response_id, safe='')}{suffix}{mark}{query}"


# --- options ---------------------------------------------------------------------------------


def _add_tools(body: dict[str, Any], options: Options) -> None:
    body["tools"] = [_encode_tool(tool) for tool in options.tools]
    match options.tool_choice:
        case NamedTool(name):
            body["tool_choice"] = {"type": "function", "name": name}
        case str() as choice:
            body["tool_choice"] = choice
    if options.parallel_tool_calls is not None:
        body["parallel_tool_calls"] = options.parallel_tool_calls


def _encode_tool(tool: Tool) -> dict[str, Any]:
    # Without `strict`, this API is strict, unlike all others, and refuses most schemas.
    encoded: dict[str, Any] = {
        "type": "function",
        "name": tool.name,
        "parameters": tool.parameters,
        "strict": tool.strict or False,
    }
    if tool.description is not None:
        encoded["description"] = tool.description
    return encoded


def _add_sampling(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    sampling = {name: value for name in ("temperature", "top_p") if (value := getattr(options, name)) is not None}
    if route.facts.sampling is False:
        warnings.extend(describe_left_out(name, route) for name in sampling)
    else:
        body |= sampling
    if list_stops(options):
        warnings.append(describe_left_out("stop", route))
    if options.seed is not None:
        warnings.append(describe_left_out("seed", route))


def _add_reasoning(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    reasoning, facts = options.reasoning, route.facts
    if reasoning is None:
        return
    if facts.reasoning is False:
        if reasoning.effort != "none":
            warnings.append(describe_left_out("reasoning", route))
        return
    if reasoning.budget_tokens is not None:
        warnings.append(describe_left_out("reasoning.budget_tokens", route))
    fields: dict[str, Any] = {}
    if reasoning.effort and facts.efforts and reasoning.effort not in facts.efforts:
        warnings.append(describe_left_out("reasoning.effort", route))
    elif reasoning.effort:
        fields["effort"] = reasoning.effort
    if reasoning.include is not False and reasoning.effort != "none":
        fields["summary"] = "auto"
    if fields:
        body["reasoning"] = fields


def _add_text_format(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    json_format = get_json_format(options)
    if json_format is None:
        return
    if json_format.type == "json":
        body["text"] = {"format": {"type": "json_object"}}
    elif route.facts.structured is False:
        text = write_json_instruction(json_format, route, warnings)
        body["input"].insert(0, encode_system_text(text, route))
    else:
        fields: dict[str, Any] = {"type": "json_schema", "name": json_format.name, "schema": json_format.schema}
        if json_format.strict is not None:
            fields["strict"] = json_format.strict
        body["text"] = {"format": fields}
