"""What encoders of several wires do alike. [pure]"""

import binascii
import re
from typing import Any

import msgspec

from protocol.messages import FilePart, ImagePart, Message, Part, State, TextPart
from protocol.replies import Warn
from protocol.requests import Chat, Options, ResponseFormat
from sidecar.core.errors import SidecarError, invalid
from sidecar.wires.shared.types import Route

SAMPLING = ("temperature", "top_p", "stop", "seed")

RESPONSE_FORMAT = "params.options.response_format"

_DATA_URL = re.compile(r"^data:([\w.+/-]+)?((?:;[\w=.+-]+)*),", re.ASCII)


def parts(message: Message) -> list[Part]:
    """Return the content of *message* as parts."""
    content = message.content
    return [TextPart(content)] if isinstance(content, str) else content


def own_state(state: State | None, route: Route) -> Any:
    """Return the data of *state* when it was minted by this provider on this wire, else None."""
    if state is None or state.provider != route.provider or state.wire != route.wire:
        return None
    return state.data


def inline(part: ImagePart | FilePart, where: str) -> tuple[str, str] | None:
    """Return media type and base64 data of *part*, or None when it is behind an http(s) address.

    Raises: SidecarError `invalid_request`, naming *where*, for a part that has neither or both.
    """
    if (part.data is None) == (part.url is None):
        raise invalid(f"`{where}` takes either `data` or `url`.", where)
    if part.url is None:
        if part.media_type is None:
            raise invalid(f"`{where}.media_type` is required beside `data`.", f"{where}.media_type")
        return part.media_type, part.data or ""
    if match := _DATA_URL.match(part.url):
        if "base64" not in match[2]:
            raise invalid(f"`{where}.url`: a data: URL must be base64.", f"{where}.url")
        return match[1] or part.media_type or "application/octet-stream", part.url[match.end() :]
    if not part.url.startswith(("https://", "http://")):
        raise invalid(f"`{where}.url` must be an https: or data: URL.", f"{where}.url")
    return None


def accepted(options: Options, route: Route, warnings: list[Warn]) -> Options:
    """Return *options* without the sampling options that the model is known to refuse, each with a warning."""
    dropped = {name: None for name in SAMPLING if name in route.facts.refuses and getattr(options, name) is not None}
    warnings.extend(left_out(name, route) for name in dropped)
    return replace(options, **dropped) if dropped else options


def replace(options: Options, **fields: Any) -> Options:
    """Return *options* with *fields* changed."""
    return msgspec.structs.replace(options, **fields)


def left_out(option: str, route: Route) -> Warn:
    """Return the warning for an option that this model or wire does not take."""
    return Warn(
        code="option_left_out",
        message=f"`{option}` is not taken by {route.provider}/{route.model} and was left out.",
        param=f"params.options.{option}",
    )


def wanted_json(options: Options) -> ResponseFormat | None:
    """Return the format of an answer that is to be JSON; a JSON Schema without its schema is just JSON."""
    wanted = options.response_format
    if wanted is None or wanted.type == "text":
        return None
    return wanted if wanted.schema is not None else msgspec.structs.replace(wanted, type="json")


def json_instruction(wanted: ResponseFormat, route: Route, warnings: list[Warn]) -> str:
    """Return the words that ask for *wanted* where no field does, with the warning that it was done so."""
    text = "Answer with one JSON value and nothing else."
    kind = "JSON"
    if wanted.type == "json_schema":
        schema = msgspec.json.encode(wanted.schema).decode()
        text, kind = f"{text} It must obey this JSON Schema:\n{schema}", "JSON of a schema"
    warnings.append(
        Warn(
            code="emulated",
            message=f"{kind} is asked for by instruction: {route.provider}/{route.model} has no field for it.",
            param=RESPONSE_FORMAT,
        )
    )
    return text


def stop_list(options: Options) -> list[str]:
    """Return `stop` as a list."""
    stop = options.stop
    return [stop] if isinstance(stop, str) else list(stop or ())


def merge_provider_options(body: dict[str, Any], chat: Chat) -> dict[str, Any]:
    """Return *body* with the caller's `provider_options` laid over it."""
    return body | chat.options.provider_options


def unsupported(where: str, what: str) -> SidecarError:
    """Return the `invalid_request` for content that the wire has no place for."""
    return invalid(f"`{where}`: {what}.", where)


def text_of(data: str, where: str) -> str:
    """Return base64 *data* as UTF-8 text.

    Raises: SidecarError `invalid_request` naming *where*.
    """
    try:
        return binascii.a2b_base64(data, strict_mode=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise invalid(f"`{where}.data` is not base64 of UTF-8 text.", f"{where}.data") from None
