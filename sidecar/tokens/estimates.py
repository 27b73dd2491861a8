"""How many tokens a chat is, without asking anybody: text by a vocabulary, and what models add to it. [pure]

Knows messages, tools and media. Must not know where a vocabulary comes from: `count`, which counts a text, is given.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple

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
from protocol.requests import Options
from sidecar.core.errors import SidecarError
from sidecar.core.message_content import decode_text, list_parts, read_inline_data
from sidecar.tokens import media
from sidecar.tokens.media import ImageRule

Count = Callable[[str], int]

MEDIA_BAND = 0.5
"""How far off the tokens of images, pages and a provider's own state may be: by half."""

SMALL_STATE_CHARS = 200

CHARS_A_TOKEN = 4
"""Of a provider's own state, such as a signature."""

BYTES_A_TOKEN = 3.5
"""Of UTF-8, where there is no vocabulary at all."""

BYTES_BAND_PCT = 60


class Family(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What models of one family make of a request: a row of `tokenizers.toml`. All but factors are in tokens."""

    name: str
    """For people."""
    models: tuple[str, ...]
    """Patterns of their names, in lower case."""
    vocabulary: str = "o200k_base"
    own: bool = False
    """The vocabulary is the models' own. Default: false, it stands in for theirs."""
    factor: float = 1.0
    """Their tokens for each of the vocabulary's, in a text."""
    prompt: int = 0
    """Added to every request."""
    message: int = 0
    """Added to every message."""
    call: int = 0
    """Added to every tool call."""
    tools: int = 0
    """Added once there are tools."""
    tool: int = 0
    """Added to every tool."""
    schema: Literal["json", "signature"] = "json"
    """What a tool's schema is counted as: its JSON, or the signature of a function that it is made into."""
    schema_factor: float = 1.0
    """Their tokens for each of the vocabulary's, in a schema."""
    format: int = 0
    """Added where the answer must fit a schema."""
    format_factor: float = 1.0
    """As `schema_factor`, for that schema; 0: it is no part of the prompt."""
    reasoning: int = 0
    """Added where reasoning is asked for."""
    image: ImageRule = ImageRule(by="fixed", unit=1000)
    page: int = 1500
    """A page of a PDF."""
    band_pct: int = 25
    """How far off the whole may be."""
    slack: int = 12
    """By how many tokens more, for what hosts add that nobody knows."""
    tools_slack: int = 0
    """By how many still more once there are tools."""


class Estimate(NamedTuple):
    """Tokens, and by how many percent they may be off."""

    tokens: int
    error_band_pct: int


# --- texts -----------------------------------------------------------------------------------

PIECE_CHARS = 64 * 1024
"""The longest text that is counted at once: on some of a million characters the regex of a vocabulary fails."""

_WINDOW_CHARS = 4096

_SEAM = re.compile(r"[^\W_](?=[\s!-&(-/:-@\[-`{-~\u3001\u3002\uff0c])")
"""Where no token lies across: behind a letter or digit, before a blank or a mark, but for the apostrophe of `don't`."""


def pieces(text: str) -> Iterator[str]:
    """Yield *text* in pieces of at most PIECE_CHARS whose tokens, added up, are those of the whole.

    Only a text without a single blank or mark for long is cut anywhere: each such cut may make a token more.
    """
    start = 0
    for end, _ in _cuts(text):
        yield text[start:end]
        start = end
    yield text[start:]


def _cuts(text: str) -> Iterator[tuple[int, bool]]:
    """Yield where *text* is cut, and whether no token lies across."""
    start = 0
    while len(text) - start > PIECE_CHARS:
        limit = start + PIECE_CHARS
        seam = _SEAM.search(text, limit - _WINDOW_CHARS, limit)
        start = seam.end() if seam else limit
        yield start, seam is not None


def text_tokens(text: str, family: Family, count: Count) -> Estimate:
    """Return the tokens of *text* alone, in no message."""
    tokens = count(text)
    if family.own:
        return Estimate(tokens, 0 if all(clean for _, clean in _cuts(text)) else 1)
    return Estimate(math.ceil(tokens * family.factor), family.band_pct)


def by_bytes(text: str) -> int:
    """Return a guess at the tokens of *text*, for want of a vocabulary."""
    return math.ceil(len(text.encode("utf-8", "replace")) / BYTES_A_TOKEN)


# --- chats -----------------------------------------------------------------------------------


class _Tally:
    """The tokens of a request so far. `texts` is in tokens of the vocabulary, the rest in those of the model."""

    def __init__(self, family: Family, count: Count, pages: Count) -> None:
        self.family = family
        self.count = count
        self.pages = pages
        self.texts = 0
        self.frame = float(family.prompt)
        self.media = 0

    def part(self, part: Part) -> None:
        """Add *part*."""
        match part:
            case TextPart():
                self.texts += self.count(part.text)
                self._state(part.state)
            case ImagePart():
                self.media += self._image(part)
            case FilePart():
                self._file(part)
            case ReasoningPart():
                self._thought(part)
            case ToolCallPart():
                arguments = _json(part.arguments or {}) if part.arguments_text is None else part.arguments_text
                self.texts += self.count(part.name) + self.count(arguments)
                self.frame += self.family.call
                self._state(part.state)
            case ToolResultPart():
                for each in [TextPart(part.content)] if isinstance(part.content, str) else part.content:
                    self.part(each)
            case OpaquePart():
                self._state(part.state)

    def _thought(self, part: ReasoningPart) -> None:
        # Without its state it does not go back to the model, and what is readable stands for what is not.
        if part.state is not None and part.content:
            self.texts += self.count(part.content)
        else:
            self._state(part.state)

    def _state(self, state: State | None) -> None:
        """Add what a provider wants back; ids and other small things are none of it."""
        chars = len(_json(state.data)) if state is not None and state.data else 0
        self.media += chars // CHARS_A_TOKEN if chars > SMALL_STATE_CHARS else 0

    def _image(self, part: ImagePart) -> int:
        found = _inline(part)
        size = media.image_size(found[1]) if found else None
        return media.image_tokens(self.family.image, size, low=part.detail == "low")

    def _file(self, part: FilePart) -> None:
        found = _inline(part)
        if found is None:
            self.media += self.family.page
        elif found[0].startswith("text/"):
            self.texts += self.count(_decoded(found[1]))
        else:
            self.media += self.family.page * self.pages(found[1])


def chat_tokens(
    messages: Iterable[Message], options: Options, family: Family, count: Count, pages: Count = media.pages
) -> Estimate:
    """Return the tokens of the prompt that *messages* and *options* make for a model of *family*.

    *count* counts the vocabulary's tokens of a text, *pages* the pages of a document in base64.
    """
    tally = _Tally(family, count, pages)
    for message in messages:
        tally.frame += family.message
        for part in list_parts(message):
            tally.part(part)
    if options.tools:
        tally.frame += family.tools + sum(family.tool + _tool(tool, family, count) for tool in options.tools)
    _of_options(tally, options)
    tokens = max(1, round(tally.texts * family.factor + tally.frame + tally.media))
    slack = family.slack + (family.tools_slack if options.tools else 0)
    off = tokens * family.band_pct / 100 + slack + tally.media * MEDIA_BAND
    return Estimate(tokens, math.ceil(100 * off / tokens))


def texts(messages: Iterable[Message], options: Options) -> list[str]:
    """Return every text of the prompt: what is said, and the tools as JSON."""
    found: list[str] = []

    def note(text: str) -> int:
        found.append(text)
        return 0

    chat_tokens(messages, options, _PLAIN, note)
    return found


_PLAIN = Family(name="", models=())


def _of_options(tally: _Tally, options: Options) -> None:
    family, form, wanted = tally.family, options.response_format, options.reasoning
    if form is not None and form.schema is not None and family.format_factor:
        tally.frame += family.format + tally.count(_json(form.schema)) * family.format_factor
    if wanted is not None and wanted.effort != "none" and wanted.budget_tokens != 0:
        tally.frame += family.reasoning


def _inline(part: ImagePart | FilePart) -> tuple[str, str] | None:
    """Return media type and base64 data, None for what is elsewhere: how it is asked for is not judged here."""
    try:
        return read_inline_data(part, "")
    except SidecarError:
        return None


def _decoded(data: str) -> str:
    try:
        return decode_text(data, "")
    except SidecarError:
        return ""


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


# --- tools -----------------------------------------------------------------------------------

MAX_DEPTH = 32
"""How deep a schema is looked into."""


def _tool(tool: Tool, family: Family, count: Count) -> float:
    if family.schema == "json":
        text = _json({"name": tool.name, "description": tool.description or "", "parameters": tool.parameters})
        return count(text) * family.schema_factor
    named = count(f"{tool.name}:{_line(tool.description)}")
    return (named + _Signature(tool.parameters, count).properties(tool.parameters)) * family.schema_factor


class _Signature:
    """A schema as the signature that OpenAI's models are shown; a definition that it refers to is shown once.

    Source: openai-cookbook, "How to count tokens with tiktoken" (commit c81359c), which stops at the first level.
    """

    def __init__(self, root: dict[str, Any], count: Count) -> None:
        self._root = root
        self._count = count
        self._shown: set[str] = set()

    def properties(self, schema: Any, depth: int = 0) -> int:
        """Return the tokens of the properties of *schema* and of all that is within them."""
        named = schema.get("properties") if isinstance(schema, dict) else None
        if depth > MAX_DEPTH or not isinstance(named, dict) or not named:
            return 0
        return 3 + sum(self._property(name, each, depth) for name, each in named.items())

    def _property(self, name: str, given: Any, depth: int) -> int:
        schema = self._resolved(given)
        tokens = 3 + self._count(f"{name}:{_line(schema.get('type'))}:{_line(schema.get('description'))}")
        if isinstance(choices := schema.get("enum"), list):
            tokens += sum(3 + self._count(str(choice)) for choice in choices) - 3
        for inner in (schema, self._resolved(schema.get("items")), *self._alternatives(schema)):
            tokens += self.properties(inner, depth + 1)
        return tokens

    def _alternatives(self, schema: dict[str, Any]) -> list[dict[str, Any]]:
        found = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
        return [self._resolved(each) for each in found] if isinstance(found, list) else []

    def _resolved(self, schema: Any) -> dict[str, Any]:
        """Return *schema*, or the definition that it refers to when that is not shown yet."""
        if not isinstance(schema, dict):
            return {}
        path = schema.get("$ref")
        if not isinstance(path, str):
            return schema
        if path in self._shown:
            return {}
        self._shown.add(path)
        found: Any = self._root
        for key in path.removeprefix("#/").split("/"):
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}


def _line(text: Any) -> str:
    return text.removesuffix(".") if isinstance(text, str) else ""
