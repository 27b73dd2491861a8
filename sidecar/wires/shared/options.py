"""What the encoders of all wires do with the options of a chat. [pure]"""

from typing import Any

import msgspec

from protocol.messages import TextPart
from protocol.options import Options, ResponseFormat
from protocol.replies import Warn
from protocol.requests import Chat
from sidecar.core.message_content import list_parts
from sidecar.wires.shared.types import Route

SAMPLING = ("temperature", "top_p", "stop", "seed")
"""The options that every wire leaves out for a model that is known to refuse them."""

RESPONSE_FORMAT = "params.options.response_format"


def drop_refused_options(options: Options, route: Route, warnings: list[Warn]) -> Options:
    """Return *options* without the sampling options that the model is known to refuse, with a warning for each."""
    refused = (name for name in SAMPLING if name in route.facts.refuses)
    dropped = {name: None for name in refused if getattr(options, name) is not None}
    warnings.extend(describe_left_out(name, route) for name in dropped)
    return msgspec.structs.replace(options, **dropped) if dropped else options


def describe_left_out(option: str, route: Route) -> Warn:
    """Return the warning for an option that this model or wire does not take."""
    return Warn(
        code="option_left_out",
        message=f"`{option}` is not taken by {route.provider}/{route.model} and was left out.",
        param=f"params.options.{option}",
    )


def get_json_format(options: Options) -> ResponseFormat | None:
    """Return the response format when the answer must be JSON; a `json_schema` without a schema becomes `json`."""
    response_format = options.response_format
    if response_format is None or response_format.type == "text":
        return None
    if response_format.schema is None:
        return msgspec.structs.replace(response_format, type="json")
    return response_format


def write_json_instruction(json_format: ResponseFormat, route: Route, warnings: list[Warn]) -> str:
    """Return the instruction that asks for *json_format* where the API has no field for it, and warn about that."""
    text = "Answer with one JSON value and nothing else."
    kind = "JSON"
    if json_format.type == "json_schema":
        schema = msgspec.json.encode(json_format.schema).decode()
        text, kind = f"{text} It must obey this JSON Schema:\n{schema}", "JSON of a schema"
    warnings.append(
        Warn(
            code="emulated",
            message=f"{kind} is asked for by instruction: {route.provider}/{route.model} has no field for it.",
            param=RESPONSE_FORMAT,
        )
    )
    return text


JSON_WORD = "Answer in JSON."
"""What is said to a model whose API takes a request for plain JSON only if its messages have that word."""


def lacks_json_word(chat: Chat) -> bool:
    """Return whether no text of *chat* has the word JSON."""
    parts = (part for message in chat.messages for part in list_parts(message))
    return not any(isinstance(part, TextPart) and "json" in part.text.lower() for part in parts)


def list_stops(options: Options) -> list[str]:
    """Return `stop` as a list."""
    stop = options.stop
    return [stop] if isinstance(stop, str) else list(stop or ())


def merge_provider_options(body: dict[str, Any], chat: Chat) -> dict[str, Any]:
    """Return *body* with the caller's `provider_options` laid over it."""
    return body | chat.options.provider_options
