"""Why a model is known not to accept a chat. An unknown property is never a reason. [pure]"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from protocol.messages import FilePart, ImagePart, ToolResultPart
from protocol.requests import Chat
from protocol.routes import RouteReason
from sidecar.catalogue.models import ModelRow
from sidecar.core.message_content import list_parts


class Misfit(NamedTuple):
    """What a model lacks."""

    reason: RouteReason
    text: str
    """For people. It calls the model `it`."""


def find_misfit(row: ModelRow, chat: Chat, count_prompt: Callable[[], int]) -> Misfit | None:
    """Return why the model of *row* does not accept *chat*, or None; *count_prompt* returns the prompt's tokens."""
    return next(_find_misfits(row, chat, count_prompt), None)


def _find_misfits(row: ModelRow, chat: Chat, count_prompt: Callable[[], int]) -> Iterator[Misfit]:
    if row.kind != "chat":
        yield Misfit("no_chat", "it has no chat")
    if chat.options.tools and row.caps.tools is False:
        yield Misfit("no_tools", "it takes no tools")
    if row.caps.images is False or row.caps.pdf is False:
        kinds = {type(part) for part in _iterate_parts(chat)}
        if ImagePart in kinds and row.caps.images is False:
            yield Misfit("no_images", "it takes no images")
        if FilePart in kinds and row.caps.pdf is False:
            yield Misfit("no_documents", "it takes no documents")
    max_tokens = row.max_input or row.context_length
    if max_tokens and count_prompt() > max_tokens:
        yield Misfit("too_long", f"it takes {max_tokens} tokens, and the prompt has more")


def needs_schema(chat: Chat) -> bool:
    """Return whether the answer must conform to a schema. A model without a field for that is asked in words."""
    response_format = chat.options.response_format
    return response_format is not None and response_format.type == "json_schema"


def _iterate_parts(chat: Chat) -> Iterator[object]:
    for message in chat.messages:
        for part in list_parts(message):
            yield part
            if isinstance(part, ToolResultPart) and isinstance(part.content, list):
                yield from part.content
