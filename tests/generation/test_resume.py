"""How an answer that broke off is gone on with: the table, the chat that does it, the message in the end."""

import pytest

from protocol.errors import ResumeMethod
from protocol.messages import Message, OpaquePart, Part, ReasoningPart, State, TextPart, ToolCallPart
from protocol.options import Options, ReasoningOptions
from protocol.requests import Chat, ResumeChat
from sidecar.core.errors import SidecarError
from sidecar.generation.resume import GUARANTEES, choose_resume, continue_chat, join_messages
from sidecar.wires.registry import list_names
from sidecar.wires.shared.types import Cursor, Route

QUESTION = Message(role="user", content="Count.")
CALL = ToolCallPart(id="1", name="look", arguments={}, arguments_text="{}")
OPAQUE = OpaquePart(kind="search", state=State(provider="p", wire="w"))


def route(model: str = "m", wire: str = "openai_chat", provider: str = "p") -> Route:
    return Route(provider=provider, wire=wire, model=model, base_url="https://provider.test")


def make_message(*parts: Part) -> Message:
    return Message(role="assistant", content=list(parts))


def choose_method(partial: Message, where: Route, options: Options | None = None) -> ResumeMethod:
    chat = Chat(model="m", messages=[QUESTION], options=options or Options())
    found = choose_resume(where, chat, partial, None)
    assert found.guarantee == GUARANTEES[found.method]
    return found.method


@pytest.mark.parametrize(
    ("wire", "model", "method"),
    [
        ("anthropic_messages", "claude-3-5-sonnet-20241022", "prefill"),
        ("anthropic_messages", "claude-sonnet-4-20250514", "prefill"),
        ("anthropic_messages", "claude-opus-4-1-20250805", "prefill"),
        ("anthropic_messages", "claude-haiku-4-5", "prefill"),
        ("anthropic_messages", "claude-sonnet-4-5@20250929", "prefill"),
        ("anthropic_messages", "claude-opus-4-6", "continue_prompt"),
        ("anthropic_messages", "claude-sonnet-5-5", "continue_prompt"),
        ("bedrock_converse", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "prefill"),
        ("bedrock_converse", "amazon.nova-pro-v1:0", "continue_prompt"),
        ("openai_chat", "claude-haiku-4-5", "continue_prompt"),
        *((wire, "some-model", "continue_prompt") for wire in list_names()),
    ],
)
def test_the_table_names_a_method_for_every_wire(wire: str, model: str, method: ResumeMethod) -> None:
    assert choose_method(make_message(TextPart("One")), route(model, wire)) == method


@pytest.mark.parametrize(
    ("partial", "method"),
    [
        (make_message(TextPart("One")), "prefill"),
        (Message(role="assistant", content="One"), "prefill"),
        (make_message(ReasoningPart("Hm"), TextPart("One")), "continue_prompt"),
        (make_message(ReasoningPart("Hm")), "restart"),
        (make_message(), "restart"),
        (make_message(TextPart("One"), CALL), "restart"),
        (make_message(TextPart("One"), OPAQUE), "restart"),
    ],
)
def test_the_method_depends_on_what_was_received(partial: Message, method: ResumeMethod) -> None:
    assert choose_method(partial, route("claude-haiku-4-5", "anthropic_messages")) == method


def test_a_reasoning_model_is_not_prefilled() -> None:
    options = Options(reasoning=ReasoningOptions(budget_tokens=2000))
    assert (
        choose_method(make_message(TextPart("One")), route("claude-haiku-4-5", "anthropic_messages"), options)
        == "continue_prompt"
    )


def test_a_background_response_is_resumed_from_its_cursor() -> None:
    found = choose_resume(
        route(), Chat(model="m", messages=[QUESTION]), make_message(TextPart("One"), CALL), Cursor("resp_1", 7)
    )
    assert (found.method, found.guarantee, found.response_id, found.starting_after) == ("cursor", "exact", "resp_1", 7)


def params(method: ResumeMethod, partial: Message | None = None, response_id: str | None = None) -> ResumeChat:
    return ResumeChat(model="m", messages=[QUESTION], method=method, partial_message=partial, response_id=response_id)


def test_each_method_builds_its_chat() -> None:
    partial = make_message(ReasoningPart("Hm"), TextPart("One, "), TextPart("two, \n"))
    assert continue_chat(params("restart")).messages == [QUESTION]
    assert continue_chat(params("cursor", None, "resp_1")).messages == [QUESTION]
    assert continue_chat(params("prefill", partial)).messages == [
        QUESTION,
        Message(role="assistant", content="One, two,"),
    ]
    asked = continue_chat(params("continue_prompt", partial)).messages
    assert [message.role for message in asked] == ["user", "assistant", "user"]
    assert "[One, two,]" in str(asked[-1].content)
    long = continue_chat(params("continue_prompt", make_message(TextPart("x" * 10_000)))).messages
    assert len(str(long[-1].content)) < 400


@pytest.mark.parametrize("method", ["prefill", "continue_prompt", "cursor"])
@pytest.mark.parametrize("partial", [None, make_message(), make_message(TextPart(" \n")), make_message(CALL)])
def test_a_method_without_what_it_needs_is_refused(method: ResumeMethod, partial: Message | None) -> None:
    with pytest.raises(SidecarError) as caught:
        continue_chat(params(method, partial))
    assert caught.value.body.code == "invalid_request"
    assert (caught.value.body.param or "").startswith("params.")


@pytest.mark.parametrize(
    ("method", "before", "rest", "whole"),
    [
        (
            "prefill",
            make_message(TextPart("One, ")),
            make_message(TextPart(" two")),
            make_message(TextPart("One, two")),
        ),
        (
            "continue_prompt",
            make_message(TextPart("One, ")),
            make_message(TextPart("two")),
            make_message(TextPart("One, two")),
        ),
        ("continue_prompt", make_message(TextPart("One")), make_message(CALL), make_message(TextPart("One"), CALL)),
        (
            "continue_prompt",
            make_message(TextPart("One, ")),
            make_message(ReasoningPart("Hm"), TextPart("two")),
            make_message(TextPart("One, "), ReasoningPart("Hm"), TextPart("two")),
        ),
        ("restart", make_message(TextPart("One")), make_message(TextPart("new")), make_message(TextPart("new"))),
        (
            "cursor",
            make_message(TextPart("One")),
            make_message(TextPart("One, two")),
            make_message(TextPart("One, two")),
        ),
        ("continue_prompt", None, make_message(TextPart("two")), make_message(TextPart("two"))),
    ],
)
def test_the_two_halves_become_one_message(
    method: ResumeMethod, before: Message | None, rest: Message, whole: Message
) -> None:
    assert join_messages(params(method, before), rest) == whole
