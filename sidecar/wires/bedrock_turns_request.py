"""Messages → the system blocks and turns of Amazon Bedrock's Converse API; what its families of models take. [pure]

Must not know the options or the answer. Sources: botocore 1.44.5 (`bedrock-runtime/2023-09-30/
service-2.json`) and the Bedrock user guide, "Prompt caching" and "Tool use", read 2026-11.
"""

import re
import zlib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from protocol.messages import (
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    State,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from protocol.replies import Warn
from sidecar.errors import invalid
from sidecar.wires import common
from sidecar.wires.draft import parse_arguments
from sidecar.wires.types import Route


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
    Family("anthropic.claude-3-5-*", cached=_EVERYWHERE, tool_status=True),
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


def pick_profile(profiles: Iterable[dict[str, Any]], model: str, region: str) -> str | None:
    """Return the id of the inference profile in *profiles*, as ListInferenceProfiles has them, to ask *model* through.

    One that stays in the geography of *region* goes before one that may go anywhere, the provider's own before the
    user's. None: there is none for the model.
    """
    wanted = base_model(model)
    found: list[tuple[bool, bool, bool, str]] = []
    for profile in profiles:
        name = profile.get("inferenceProfileId", "")
        arns = [each.get("modelArn", "") for each in profile.get("models") or ()]
        served = [arn.split(":")[3] for arn in arns if arn.count(":") >= 5 and base_model(arn) == wanted]
        if name and served and profile.get("status", "ACTIVE") == "ACTIVE":
            own = profile.get("type", "SYSTEM_DEFINED") != "SYSTEM_DEFINED"
            found.append((own, "" in served or name.startswith("global."), region not in served, name))
    return min(found)[3] if found else None


IMAGE_FORMATS = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}

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


def conversation(
    messages: list[Message], route: Route, warnings: list[Warn]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the system blocks and the turns, consecutive turns of one role merged into one.

    Raises: SidecarError `invalid_request` for what the API has no place for.
    """
    blocks = _Blocks(route)
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        made = blocks.of(message, f"params.messages[{index}].content")
        role = "assistant" if message.role == "assistant" else "user"
        if message.role == "system":
            system.extend(made)
        elif made and turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(made)
        elif made:
            turns.append({"role": role, "content": made})
    if not turns:
        raise invalid("`params.messages` needs a turn with content beside the system text.", "params.messages")
    if turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": [{"text": FIRST_TURN}]})
        warnings.append(_FIRST_TURN_WARNING)
    for turn in turns:
        if turn["role"] == "user":
            # The results of an assistant turn must come before anything else in the next user turn.
            turn["content"].sort(key=lambda block: "toolResult" not in block)
    return system, turns


class _Blocks:
    """The blocks of one conversation's messages; remembers the names of its documents, which must differ."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._tool_status = family(route.model).tool_status
        self._document_names: set[str] = set()

    def of(self, message: Message, where: str) -> list[dict[str, Any]]:
        """Return the blocks of *message*, without those that the API would refuse or that say nothing."""
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
