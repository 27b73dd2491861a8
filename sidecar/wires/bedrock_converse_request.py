"""A chat → the request of Amazon Bedrock's Converse API, `POST /model/{id}/converse-stream`. [pure]

Knows the request's fields, which are the same for all families of models, and what only some
families take. Must not know the answer. Sources: botocore 1.44.5 (`bedrock-runtime/2023-09-30/
service-2.json`) and the Bedrock user guide, "Prompt caching" and "Tool use", read 2026-11.
"""

import re
import zlib
from fnmatch import fnmatchcase
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from protocol.messages import (
    FilePart,
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
)
from protocol.replies import Warn
from protocol.requests import Chat, NamedTool, Options, ReasoningOptions
from sidecar.errors import invalid
from sidecar.wires import common
from sidecar.wires.anthropic_request import BUDGET_OF_EFFORT, MIN_THINKING_TOKENS
from sidecar.wires.draft import parse_arguments
from sidecar.wires.types import Encoded, HttpRequest, Route

STREAM_PATH = "/converse-stream"


class Family(NamedTuple):
    """What the models whose id, less its region, matches `models` take."""

    models: str
    cached: tuple[str, ...] = ()
    """Where cache points may stand: `system`, `tools`, `messages`. One elsewhere is an error."""
    tool_status: bool = False
    """A tool's result may be marked as an error."""
    thinking: bool = False
    """Reasoning is asked for with Anthropic's own `thinking`."""


_EVERYWHERE = ("system", "tools", "messages")
FAMILIES: tuple[Family, ...] = (
    Family("anthropic.claude-v2*"),
    Family("anthropic.claude-instant*"),
    Family("anthropic.claude-3-haiku*", tool_status=True),
    Family("anthropic.claude-3-opus*", tool_status=True),
    Family("anthropic.claude-3-sonnet*", tool_status=True),
    Family("anthropic.claude-3-5-sonnet-20240620*", tool_status=True),
    Family("anthropic.claude-*", cached=_EVERYWHERE, tool_status=True, thinking=True),
    Family("amazon.nova-*", cached=("system", "messages"), tool_status=True),
)
"""The first that matches counts."""

_PLAIN = Family("*")

_REGION = re.compile(r"(?:[a-z]{2,6}(?:-[a-z]+)?)\.(?=[a-z][a-z0-9]*\.[a-z])")
"""The geography of an inference profile's id. New ones appear, so it is known by what follows: `maker.model`."""


def base_model(model: str) -> str:
    """Return the id of the foundation model in *model*, an id or ARN of a model or an inference profile.

    The ARNs of application profiles and of provisioned models do not name one: what follows their last slash is
    returned.
    """
    name = model.rpartition("/")[2] if model.startswith("arn:") else model
    found = _REGION.match(name)
    return name[found.end() :] if found else name


def family(model: str) -> Family:
    """Return what is known of *model*'s family."""
    base = base_model(model)
    return next((each for each in FAMILIES if fnmatchcase(base, each.models)), _PLAIN)


def encode(chat: Chat, route: Route) -> Encoded:
    """Return the streaming request for *chat*."""
    warnings: list[Warn] = []
    options = common.accepted(chat.options, route, warnings)
    system, messages = _Conversation(route, warnings).read(chat.messages)
    body: dict[str, Any] = {"messages": messages}
    if system:
        body["system"] = system
    _tools(body, options, route, warnings)
    _reasoning(body, options, route, warnings)
    _inference(body, options, route, warnings)
    _response_format(body, options, warnings)
    if options.cache == "auto":
        _mark_cache(body, family(route.model).cached)
    path = route.path or f"/model/{quote(route.model, safe='-._~')}{STREAM_PATH}"
    return Encoded(
        HttpRequest(
            method="POST",
            url=route.base_url + path,
            headers={"content-type": "application/json"} | route.headers,
            body=msgspec.json.encode(_with_provider_options(body, options)),
        ),
        warnings,
    )


def _with_provider_options(body: dict[str, Any], options: Options) -> dict[str, Any]:
    """Return *body* under the caller's `provider_options`; an object of both has the fields of both.

    Most of what a caller adds, `top_k` or a beta, goes into an object that reasoning goes into as well.
    """
    laid = {
        key: body[key] | value if isinstance(value, dict) and isinstance(body.get(key), dict) else value
        for key, value in options.provider_options.items()
    }
    return body | laid


# --- messages --------------------------------------------------------------------------------

IMAGE_FORMATS = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}

DOCUMENT_FORMATS = {
    "application/pdf": "pdf",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
}
"""Other kinds of text are `txt`."""

MAX_DOCUMENT_NAME_CHARS = 200

NO_OUTPUT = "(no output)"
"""Stands for the empty result of a tool: a blank text is refused."""

FIRST_TURN = "."
"""The text of the user turn that is put before a conversation which the assistant begins."""


class _Conversation:
    """Messages → system blocks and turns; remembers the names of the documents, which must differ."""

    def __init__(self, route: Route, warnings: list[Warn]) -> None:
        self._route = route
        self._warnings = warnings
        self._document_names: set[str] = set()
        self._tool_status = family(route.model).tool_status

    def read(self, messages: list[Message]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the system blocks and the turns, consecutive turns of one role merged into one.

        Raises: SidecarError `invalid_request` for what the API has no place for.
        """
        system: list[dict[str, Any]] = []
        turns: list[dict[str, Any]] = []
        for index, message in enumerate(messages):
            blocks = self._blocks(message, f"params.messages[{index}].content")
            role = "assistant" if message.role == "assistant" else "user"
            if message.role == "system":
                system.extend(blocks)
            elif blocks and turns and turns[-1]["role"] == role:
                turns[-1]["content"].extend(blocks)
            elif blocks:
                turns.append({"role": role, "content": blocks})
        if not turns:
            raise invalid("`params.messages` needs a turn with content beside the system text.", "params.messages")
        if turns[0]["role"] == "assistant":
            turns.insert(0, {"role": "user", "content": [{"text": FIRST_TURN}]})
            self._warnings.append(_FIRST_TURN_WARNING)
        for turn in turns:
            if turn["role"] == "user":
                # The results of an assistant turn must come before anything else in the next user turn.
                turn["content"].sort(key=lambda block: "toolResult" not in block)
        return system, turns

    def _blocks(self, message: Message, where: str) -> list[dict[str, Any]]:
        made = (self._block(part, message.role, f"{where}[{at}]") for at, part in enumerate(common.parts(message)))
        return [block for block in made if block is not None]

    def _block(self, part: Part, role: str, where: str) -> dict[str, Any] | None:
        match part:
            case TextPart(text):
                # A text of nothing but blanks is refused, even one that the model wrote.
                return {"text": text} if text.strip() else None
            case ImagePart() | FilePart():
                if role not in ("user", "tool"):
                    raise common.unsupported(where, f"images and documents have no place in a turn of role {role}")
                return self._media(part, where)
            case ReasoningPart():
                return _thought(part, self._route)
            case ToolCallPart():
                return _tool_use(part)
            case ToolResultPart():
                return self._tool_result(part, where)
            case OpaquePart():
                # An image that a model made is taken from users alone.
                return own_state(part.state, self._route) if part.kind != "image" else None

    def _tool_result(self, part: ToolResultPart, where: str) -> dict[str, Any]:
        if isinstance(part.content, str):
            content: list[dict[str, Any]] = [{"text": part.content}] if part.content.strip() else []
        else:
            made = (self._block(each, "tool", f"{where}.content[{at}]") for at, each in enumerate(part.content))
            content = [block for block in made if block is not None]
        result: dict[str, Any] = {"toolUseId": tool_id(part.id), "content": content or [{"text": NO_OUTPUT}]}
        if part.is_error and self._tool_status:
            result["status"] = "error"
        return {"toolResult": result}

    def _media(self, part: ImagePart | FilePart, where: str) -> dict[str, Any]:
        data = common.inline(part, where)
        if data is None:
            raise invalid(f"`{where}.url`: send the data itself; this wire takes no addresses.", f"{where}.url")
        media_type, encoded = data
        if isinstance(part, ImagePart):
            if (image := IMAGE_FORMATS.get(media_type)) is None:
                raise common.unsupported(f"{where}.media_type", "images are png, jpeg, gif or webp")
            return {"image": {"format": image, "source": {"bytes": encoded}}}
        document = DOCUMENT_FORMATS.get(media_type) or ("txt" if media_type.startswith("text/") else None)
        if document is None:
            raise common.unsupported(f"{where}.media_type", "this kind of document is not taken")
        name = self._document_name(part.name or "document")
        return {"document": {"format": document, "name": name, "source": {"bytes": encoded}}}

    def _document_name(self, wanted: str) -> str:
        """Return *wanted* in the alphabet of document names, with a number where another has that name.

        Numbers are given in the order of the messages, so that a document keeps its name in the next request and what
        is cached stays good.
        """
        plain = re.sub(r"\s+", " ", re.sub(r"[^A-Za-z0-9\s()\[\]-]+", "-", wanted)).strip(" -") or "document"
        name, number = plain[:MAX_DOCUMENT_NAME_CHARS], 1
        while name in self._document_names:
            number += 1
            suffix = f" ({number})"
            name = plain[: MAX_DOCUMENT_NAME_CHARS - len(suffix)] + suffix
        self._document_names.add(name)
        return name


_FIRST_TURN_WARNING = Warn(
    code="emulated",
    message="A conversation begins with a user turn on this wire: one was put before the assistant's.",
    param="params.messages",
)


def own_state(state: State | None, route: Route) -> dict[str, Any] | None:
    """Return the data of *state* when a model of this family left it, else None."""
    data = common.own_state(state, route)
    if state is None or not isinstance(data, dict) or _maker(state.model) != _maker(route.model):
        return None
    return data


def _maker(model: str) -> str:
    return base_model(model).partition(".")[0]


def _thought(part: ReasoningPart, route: Route) -> dict[str, Any] | None:
    # Text without its signature is refused, so another model's thoughts are left out.
    own = own_state(part.state, route) or {}
    if own.get("redactedContent"):
        return {"reasoningContent": {"redactedContent": own["redactedContent"]}}
    if own.get("signature"):
        return {"reasoningContent": {"reasoningText": {"text": part.content, "signature": own["signature"]}}}
    return None


_TOOL_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def tool_id(call_id: str) -> str:
    """Return *call_id*, or another for it when it has letters or a length that the API refuses."""
    if _TOOL_ID.fullmatch(call_id):
        return call_id
    # The checksum keeps ids apart that differ only in what is lost.
    return f"{re.sub(r'[^a-zA-Z0-9_.:-]', '_', call_id)[:55]}-{zlib.crc32(call_id.encode('utf-8', 'replace')):08x}"


def _tool_use(part: ToolCallPart) -> dict[str, Any]:
    arguments = parse_arguments(part.arguments_text or "") if part.arguments is None else part.arguments
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", part.name)[:64] or "tool"
    return {"toolUse": {"toolUseId": tool_id(part.id), "name": name, "input": arguments or {}}}


# --- options ---------------------------------------------------------------------------------


def _tools(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    """Add the tools, also where none is wanted but the history has calls: without tools those are refused."""
    used = _used_tools(body["messages"])
    wanted = [_tool(tool, f"params.options.tools[{at}]") for at, tool in enumerate(options.tools)]
    if options.parallel_tool_calls is False and wanted:
        warnings.append(common.left_out("parallel_tool_calls", route))
    if options.tool_choice == "none" and used and wanted:
        warnings.append(common.left_out("tool_choice", route))
    elif options.tool_choice == "none":
        wanted = []
    if wanted:
        body["toolConfig"] = {"tools": wanted} | _tool_choice(options)
    elif used:
        body["toolConfig"] = {"tools": [_tool_spec(name, {"type": "object"}) for name in used]}


def _used_tools(turns: list[dict[str, Any]]) -> list[str]:
    blocks = [block for turn in turns for block in turn["content"]]
    names = [block["toolUse"].get("name", "tool") for block in blocks if "toolUse" in block]
    if not names and any("toolResult" in block for block in blocks):
        return ["tool"]
    return list(dict.fromkeys(names))


def _tool(tool: Tool, where: str) -> dict[str, Any]:
    if not _TOOL_NAME.fullmatch(tool.name):
        raise invalid(f"`{where}.name` has at most 64 letters, digits, `_` and `-` on this wire.", f"{where}.name")
    made = _tool_spec(tool.name, tool.parameters)
    if tool.description:
        made["toolSpec"]["description"] = tool.description
    if tool.strict is not None:
        made["toolSpec"]["strict"] = tool.strict
    return made


def _tool_spec(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {"toolSpec": {"name": name, "inputSchema": {"json": parameters}}}


def _tool_choice(options: Options) -> dict[str, Any]:
    match options.tool_choice:
        case NamedTool(name):
            return {"toolChoice": {"tool": {"name": name}}}
        case "required":
            return {"toolChoice": {"any": {}}}
        case _:
            # To choose freely is the default, and families that cannot be forced refuse the field altogether.
            return {}


def _inference(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    fields: dict[str, Any] = {
        "maxTokens": options.max_tokens,
        "temperature": options.temperature,
        "topP": options.top_p,
        "stopSequences": common.stop_list(options) or None,
    }
    if body.get("additionalModelRequestFields", {}).get("thinking", {}).get("type") in ("adaptive", "enabled"):
        # A model that thinks takes the defaults only.
        for field, option in (("temperature", "temperature"), ("topP", "top_p")):
            if fields.pop(field) is not None:
                warnings.append(common.left_out(option, route))
    if options.seed is not None:
        warnings.append(common.left_out("seed", route))
    if given := {name: value for name, value in fields.items() if value is not None}:
        body["inferenceConfig"] = given


def _reasoning(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    wanted = options.reasoning
    if wanted is None:
        return
    facts = route.facts
    thinks = facts.thinking is not None or family(route.model).thinking
    if facts.reasoning is False or not (thinks or facts.reasoning):
        # Of a model that nothing is known of, most do not reason.
        if wanted.effort != "none":
            warnings.append(common.left_out("reasoning", route))
    elif thinks and wanted.effort == "none":
        body["additionalModelRequestFields"] = {"thinking": {"type": "disabled"}}
    elif facts.thinking == "budget":
        _thinking_budget(body, wanted, options, route, warnings)
    else:
        if wanted.budget_tokens is not None:
            warnings.append(common.left_out("reasoning.budget_tokens", route))
        if thinks:
            # Models show nothing of their thoughts unless they are asked to.
            display = "omitted" if wanted.include is False else "summarized"
            body["additionalModelRequestFields"] = {"thinking": {"type": "adaptive", "display": display}}
        _effort(body, wanted, route, warnings)


def _thinking_budget(
    body: dict[str, Any], wanted: ReasoningOptions, options: Options, route: Route, warnings: list[Warn]
) -> None:
    limit = options.max_tokens or route.facts.max_output
    budget = max(MIN_THINKING_TOKENS, wanted.budget_tokens or BUDGET_OF_EFFORT[wanted.effort or "medium"])
    if limit is not None:
        budget = min(budget, limit - 1)
    if budget < MIN_THINKING_TOKENS:
        warnings.append(common.left_out("reasoning", route))
    else:
        body["additionalModelRequestFields"] = {"thinking": {"type": "enabled", "budget_tokens": budget}}


def _effort(body: dict[str, Any], wanted: ReasoningOptions, route: Route, warnings: list[Warn]) -> None:
    effort = "low" if wanted.effort == "minimal" else wanted.effort
    if effort is None:
        return
    if effort == "none" or (route.facts.efforts and effort not in route.facts.efforts):
        warnings.append(common.left_out("reasoning.effort", route))
    else:
        body["outputConfig"] = {"effort": effort}


def _response_format(body: dict[str, Any], options: Options, warnings: list[Warn]) -> None:
    wanted = options.response_format
    if wanted is None or wanted.type == "text":
        return
    if wanted.type == "json_schema" and wanted.schema is not None:
        # The schema is a JSON document inside of a string.
        schema = {"name": wanted.name, "schema": msgspec.json.encode(wanted.schema).decode()}
        structure = {"type": "json_schema", "structure": {"jsonSchema": schema}}
        body.setdefault("outputConfig", {})["textFormat"] = structure
        return
    body.setdefault("system", []).append({"text": "Answer with one JSON value and nothing else."})
    warnings.append(
        Warn(
            code="emulated",
            message="JSON without a schema is asked for by instruction on this wire.",
            param="params.options.response_format",
        )
    )


def _mark_cache(body: dict[str, Any], places: tuple[str, ...]) -> None:
    """Place cache points after the system text, the tools and the last two user turns (at most 4 go)."""
    point = {"cachePoint": {"type": "default"}}
    if "system" in places and body.get("system"):
        body["system"].append(point)
    if "tools" in places and "toolConfig" in body:
        body["toolConfig"]["tools"].append(point)
    if "messages" in places:
        for turn in [turn for turn in body["messages"] if turn["role"] == "user"][-2:]:
            content = turn["content"]
            # A point right behind a document is refused.
            end = next((at for at in range(len(content), 0, -1) if "document" not in content[at - 1]), 0)
            if end:
                content.insert(end, point)
