"""How many tokens a chat has, without asking anybody: texts by a vocabulary, and what models add to them. [pure]

Knows messages, tools and media. Must not know where a vocabulary comes from: callers pass the
function that counts a text.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

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
    ToolCallPart,
    ToolResultPart,
)
from protocol.options import Options
from sidecar.core.errors import SidecarError
from sidecar.core.json_values import open_state
from sidecar.core.message_content import decode_text, list_parts, read_inline_data
from sidecar.tokens import media
from sidecar.tokens.families import Family
from sidecar.tokens.texts import Count, list_cuts
from sidecar.tokens.tool_schemas import count_tool

MEDIA_BAND = 0.5
"""How far off the tokens of images, pages and provider state may be: by half."""

SMALL_STATE_CHARS = 200
"""Provider state up to this size, such as an id, is not part of the prompt."""

CHARS_PER_STATE_TOKEN = 4
"""In provider state, such as a signature."""


class Estimate(NamedTuple):
    """A number of tokens, and by how many percent it may be off."""

    tokens: int
    error_band_pct: int


def estimate_text(text: str, family: Family, count: Count) -> Estimate:
    """Return the tokens of *text* alone, outside of any message."""
    tokens = count(text)
    if family.own:
        return Estimate(tokens, 0 if all(is_seam for _, is_seam in list_cuts(text)) else 1)
    return Estimate(math.ceil(tokens * family.factor), family.band_pct)


def estimate_chat(
    messages: Iterable[Message], options: Options, family: Family, count: Count, count_pages: Count = media.count_pages
) -> Estimate:
    """Return the tokens of the prompt that *messages* and *options* make for a model of *family*.

    *count* returns the vocabulary's tokens of a text, *count_pages* the pages of a document in base64.
    """
    tally = _Tally(family, count, count_pages)
    for message in messages:
        tally.frame += family.message
        for part in list_parts(message):
            tally.add_part(part)
    if options.tools:
        tally.frame += family.tools + sum(family.tool + count_tool(tool, family, count) for tool in options.tools)
    tally.add_options(options)
    tokens = max(1, round(tally.texts * family.factor + tally.frame + tally.media))
    slack = family.slack + (family.tools_slack if options.tools else 0)
    band = tokens * family.band_pct / 100 + slack + tally.media * MEDIA_BAND
    return Estimate(tokens, math.ceil(100 * band / tokens))


_PLAIN = Family(name="", models=())


def list_texts(messages: Iterable[Message], options: Options) -> list[str]:
    """Return every text of the prompt: those of the messages, and the tools as JSON."""
    texts: list[str] = []

    def collect(text: str) -> int:
        texts.append(text)
        return 0

    estimate_chat(messages, options, _PLAIN, collect)
    return texts


class _Tally:
    """The tokens of a request so far. `texts` is in tokens of the vocabulary, the rest in those of the model."""

    def __init__(self, family: Family, count: Count, count_pages: Count) -> None:
        self._family = family
        self._count = count
        self._count_pages = count_pages
        self.texts = 0
        self.frame = float(family.prompt)
        self.media = 0

    def add_part(self, part: Part) -> None:
        """Add *part*."""
        match part:
            case TextPart():
                self.texts += self._count(part.text)
                self._add_state(part.state)
            case ImagePart():
                self._add_image(part)
            case FilePart():
                self._add_file(part)
            case ReasoningPart():
                self._add_reasoning(part)
            case ToolCallPart():
                arguments = _encode(part.arguments or {}) if part.arguments_text is None else part.arguments_text
                self.texts += self._count(part.name) + self._count(arguments)
                self.frame += self._family.call
                self._add_state(part.state)
            case ToolResultPart():
                for each in [TextPart(part.content)] if isinstance(part.content, str) else part.content:
                    self.add_part(each)
            case OpaquePart():
                self._add_state(part.state)

    def add_options(self, options: Options) -> None:
        """Add the schema of the answer, and what reasoning adds."""
        family, response_format, reasoning = self._family, options.response_format, options.reasoning
        if response_format is not None and response_format.schema is not None and family.format_factor:
            self.frame += family.format + self._count(_encode(response_format.schema)) * family.format_factor
        if reasoning is not None and reasoning.effort != "none" and reasoning.budget_tokens != 0:
            self.frame += family.reasoning

    def _add_reasoning(self, part: ReasoningPart) -> None:
        # Without its state it does not go back to the model. What is readable stands for what is not.
        if part.state is not None and part.content:
            self.texts += self._count(part.content)
        else:
            self._add_state(part.state)

    def _add_state(self, state: str | State | None) -> None:
        state = open_state(state)
        chars = len(_encode(state.data)) if state is not None and state.data else 0
        self.media += chars // CHARS_PER_STATE_TOKEN if chars > SMALL_STATE_CHARS else 0

    def _add_image(self, part: ImagePart) -> None:
        inline = _read_inline(part)
        size = media.read_image_size(inline[1]) if inline else None
        self.media += media.count_image_tokens(self._family.image, size, low=part.detail == "low")

    def _add_file(self, part: FilePart) -> None:
        inline = _read_inline(part)
        if inline is None:
            self.media += self._family.page
        elif inline[0].startswith("text/"):
            self.texts += self._count(_decode(inline[1]))
        else:
            self.media += self._family.page * self._count_pages(inline[1])


def _read_inline(part: ImagePart | FilePart) -> tuple[str, str] | None:
    """Return the media type and the base64 data, or None for content that is elsewhere or that a wire would refuse."""
    try:
        return read_inline_data(part, "")
    except SidecarError:
        return None


def _decode(data: str) -> str:
    try:
        return decode_text(data, "")
    except SidecarError:
        return ""


def _encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()
