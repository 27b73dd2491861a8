"""Interrupted answers: the best way to continue them, and the chat that does it.

Knows the table `resume.toml`, and how the two halves of an answer become one message. Must not know wires or HTTP.
"""

from fnmatch import fnmatchcase
from functools import cache
from typing import Literal

import msgspec

from protocol.errors import Guarantee, Resume, ResumeMethod
from protocol.messages import Message, Part, TextPart
from protocol.requests import Chat, ResumeChat
from sidecar.core import resources
from sidecar.core.errors import invalid_request
from sidecar.core.message_content import join_texts, list_parts
from sidecar.wires.shared.types import Cursor, Route

GUARANTEES: dict[ResumeMethod, Guarantee] = {
    "restart": "none",
    "continue_prompt": "approximate",
    "prefill": "near_exact",
    "cursor": "exact",
}

LAST_WORDS_CHARS = 200
"""How much of its own answer the model is reminded of."""

_PROMPT = "Your previous response was interrupted and ended with [{}]. Continue from where you left off."


class ResumeRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The wires, providers and models for which one method is best."""

    wires: tuple[str, ...]
    method: Literal["prefill", "continue_prompt"]
    providers: tuple[str, ...] = ("*",)
    models: tuple[str, ...] = ("*",)

    def matches(self, route: Route) -> bool:
        """Return whether the rule is for *route*."""
        columns = ((route.provider, self.providers), (route.wire, self.wires), (route.model, self.models))
        return all(any(fnmatchcase(name, pattern) for pattern in patterns) for name, patterns in columns)


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rules: list[ResumeRule]


@cache
def _read_rules() -> list[ResumeRule]:
    text = resources.find("generation/resume.toml").read_bytes()
    return msgspec.toml.decode(text, type=_Table).rules


def choose_resume(route: Route, chat: Chat, partial: Message, cursor: Cursor | None) -> Resume:
    """Return how to continue the answer to *chat* of which *partial* was received."""
    if cursor is not None:
        return Resume(
            method="cursor", guarantee="exact", response_id=cursor.response_id, starting_after=cursor.sequence
        )
    method: ResumeMethod = "restart"
    parts = list_parts(partial)
    # A tool call cannot be continued, and reasoning alone is nothing to continue from.
    if all(part.__class__ is TextPart for part in _drop_reasoning(parts)) and join_texts(partial):
        method = next((rule.method for rule in _read_rules() if rule.matches(route)), method)
    if method == "prefill" and (chat.options.reasoning or len(_drop_reasoning(parts)) < len(parts)):
        # A reasoning model begins its turn with reasoning.
        method = "continue_prompt"
    return Resume(method=method, guarantee=GUARANTEES[method])


def continue_chat(params: ResumeChat) -> ResumeChat:
    """Return the chat that continues an answer.

    Raises: SidecarError `invalid_request` if something is missing that the method needs.
    """
    if params.method == "restart":
        return params
    if params.method == "cursor":
        if params.response_id is None:
            raise invalid_request("`params.response_id` is required with `cursor`.", "params.response_id")
        return params
    text = join_texts(params.partial_message).rstrip() if params.partial_message else ""
    if not text:
        raise invalid_request("`params.partial_message` must contain text to continue from.", "params.partial_message")
    added = [Message(role="assistant", content=text)]
    if params.method == "continue_prompt":
        added.append(Message(role="user", content=_PROMPT.format(text[-LAST_WORDS_CHARS:])))
    return msgspec.structs.replace(params, messages=[*params.messages, *added])


def join_messages(params: ResumeChat, rest: Message) -> Message:
    """Return the whole assistant message: the partial one and the *rest*."""
    if params.method in ("restart", "cursor") or params.partial_message is None:
        return rest
    before, after = list_parts(params.partial_message), list_parts(rest)
    if before and after and isinstance(before[-1], TextPart) and isinstance(after[0], TextPart):
        # The model continued a text without the white space at its end.
        joined = TextPart(
            before[-1].text.rstrip() + after[0].text if params.method == "prefill" else before[-1].text + after[0].text
        )
        return Message(role="assistant", content=[*before[:-1], joined, *after[1:]])
    return Message(role="assistant", content=[*before, *after])


def find_earlier_text(chat: Chat) -> str:
    """Return the text of the answer to *chat* that the host has already, in the form in which the rest continues it.

    Raises: SidecarError `invalid_request` if it is not known.
    """
    if not isinstance(chat, ResumeChat) or chat.method == "restart":
        return ""
    if chat.partial_message is None:
        text = "`params.partial_message` is required with `params.options.output`, which reads the whole answer."
        raise invalid_request(text, "params.partial_message")
    text = join_texts(chat.partial_message)
    return text.rstrip() if chat.method == "prefill" else text


def _drop_reasoning(parts: list[Part]) -> list[Part]:
    return [part for part in parts if part.__struct_config__.tag != "reasoning"]
