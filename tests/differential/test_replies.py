"""The same bytes, read by the official SDKs and by our decoders, mean the same."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest

from protocol.messages import Message, ReasoningPart, TextPart, ToolCallPart
from sidecar.core.errors import SidecarError
from sidecar.wires.shared.types import Outcome, Route
from tests.differential import BASES, HELLO, QUIET
from tests.support import corpus, fixtures, reply_scripts
from tests.support.decoding import play
from tests.support.fake_provider import Provider
from tests.support.fixtures import Case

pytestmark = [*QUIET, pytest.mark.long]


class Meaning(NamedTuple):
    """What a reply says, in words that both sides have."""

    text: str
    reasoning: str
    calls: list[tuple[str, str, Any]]
    """Id, name and parsed arguments, None where they are no JSON object."""
    finish: str | None
    """The provider's own word."""
    usage: dict[str, int | None] | None


def arguments(text: str) -> Any:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def by_anthropic(client: Any, ask: dict[str, Any]) -> Meaning:
    """Read the reply by the SDK's own accumulator."""
    pieces: dict[int, str] = {}
    if ask["stream"]:
        with client.messages.stream(**{key: value for key, value in ask.items() if key != "stream"}) as stream:
            for event in stream:
                if event.type == "content_block_delta" and event.delta.type == "input_json_delta":
                    pieces[event.index] = pieces.get(event.index, "") + event.delta.partial_json
            message = stream.get_final_message()
    else:
        message = client.messages.create(**ask)
    blocks = list(enumerate(message.content))
    return Meaning(
        text="".join(block.text for _, block in blocks if block.type == "text"),
        reasoning="".join(block.thinking for _, block in blocks if block.type == "thinking"),
        calls=[
            (block.id, block.name, arguments(pieces.get(index) or json.dumps(block.input)))
            for index, block in blocks
            if block.type == "tool_use"
        ],
        finish=message.stop_reason,
        usage=corpus.USAGE["anthropic.messages"](message.usage.model_dump()),
    )


def by_openai_chat(client: Any, ask: dict[str, Any]) -> Meaning:
    """Read the reply chunk by chunk, as the SDK parses them."""
    made = client.chat.completions.create(**ask)
    chunks = list(made) if ask["stream"] else [made]
    text, reasoning, finish, usage = "", "", None, None
    calls: dict[int, dict[str, str]] = {}
    for chunk in chunks:
        usage = chunk.usage.model_dump() if chunk.usage else usage
        for choice in chunk.choices or ():
            delta = choice and (choice.delta if ask["stream"] else choice.message)
            if not delta or choice.index != 0:
                finish = choice.finish_reason or finish if choice and choice.index == 0 else finish
                continue
            finish = choice.finish_reason or finish
            text += (delta.content or "") + (delta.refusal or "")
            reasoning += (delta.model_extra or {}).get("reasoning_content") or ""
            for place, call in enumerate(delta.tool_calls or ()):
                known = calls.setdefault(getattr(call, "index", place), {"id": "", "name": "", "text": ""})
                known["id"] = known["id"] or call.id or ""
                known["name"] = known["name"] or (call.function and call.function.name) or ""
                known["text"] += (call.function and call.function.arguments) or ""
    return Meaning(
        text=text,
        reasoning=reasoning,
        calls=[(call["id"], call["name"], arguments(call["text"])) for call in calls.values()],
        finish=finish,
        usage=usage and corpus.USAGE["openai.chat"](usage),
    )


def by_openai_responses(client: Any, ask: dict[str, Any]) -> Meaning:
    """Read the reply from the response that the SDK makes of its last event, or of the items where it has none."""
    made = client.responses.create(**ask)
    response, items = (None, {}) if ask["stream"] else (made, {})
    for event in made if ask["stream"] else ():
        if event.type == "response.output_item.done":
            items[event.output_index] = event.item
        elif event.type in ("response.completed", "response.incomplete", "response.failed"):
            response = event.response
        elif event.type == "error" or (event.model_extra or {}).get("error") is not None:
            raise RefusedError(event.model_extra.get("message"), getattr(event, "code", None))
    if response is None:
        return Meaning("", "", [], None, None)
    if response.error is not None:
        raise RefusedError(response.error.message, response.error.code)
    output = response.output or [item for _, item in sorted(items.items())]
    parts = [part for item in output if item.type == "message" for part in item.content]
    thoughts = [item for item in output if item.type == "reasoning"]
    reason = response.incomplete_details and response.incomplete_details.reason
    written = {"function_call": "arguments", "custom_tool_call": "input"}
    calls = [(item, getattr(item, written[item.type])) for item in output if item.type in written]
    return Meaning(
        text="".join(part.text if part.type == "output_text" else part.refusal for part in parts),
        reasoning="".join(part.text for item in thoughts for part in (item.summary or item.content or ())),
        calls=[(item.call_id, item.name, arguments(text)) for item, text in calls],
        finish=f"{response.status}:{reason}" if reason else response.status,
        usage=response.usage and corpus.USAGE["openai.responses"](response.usage.model_dump()),
    )


class RefusedError(Exception):
    """An error inside a stream that the SDK gives as an event."""

    def __init__(self, message: str, code: str | None) -> None:
        super().__init__(message)
        self.code = code


READERS: dict[str, Callable[[Any, dict[str, Any]], Meaning]] = {
    "anthropic_messages": by_anthropic,
    "openai_chat": by_openai_chat,
    "openai_responses": by_openai_responses,
}

ASKS: dict[str, dict[str, Any]] = {
    "anthropic_messages": {"messages": HELLO, "max_tokens": 100},
    "openai_chat": {"messages": HELLO},
    "openai_responses": {"input": "Hello"},
}


def by_us(route: Route, status: int, headers: dict[str, str], body: bytes) -> Meaning:
    outcome = play(route, status, headers, [body[at : at + 97] for at in range(0, len(body), 97)], list)
    return meaning(outcome.message, outcome)


def meaning(message: Message, outcome: Outcome) -> Meaning:
    parts = message.content
    assert not isinstance(parts, str)
    return Meaning(
        text="".join(part.text for part in parts if isinstance(part, TextPart)),
        reasoning="".join(part.content for part in parts if isinstance(part, ReasoningPart)),
        calls=[(part.id, part.name, part.arguments) for part in parts if isinstance(part, ToolCallPart)],
        finish=outcome.provider_finish_reason,
        usage=msgspec.to_builtins(outcome.usage),
    )


DIFFERENT = {
    "anthropic_messages/error_event_bare": "the SDK knows no type outside of `error`; ours does",
    "anthropic_messages/host_malformed_tool": "the SDK fails at arguments that are no JSON; ours hands them on as text",
    "anthropic_messages/noise": "the SDK fails at a block that is null; ours skips it",
    "openai_chat/half_a_character": "the SDK passes half a surrogate pair on, which no UTF-8 can hold",
    "openai_chat/tools_arguments": "the SDK fails at arguments that are no text; ours writes them out",
    "openai_responses/error_400_flat_body": "the SDK knows no code outside of `error`; ours does",
    "openai_responses/error_event_empty": "the SDK gives an empty error as an event; ours fails",
    "openai_responses/server_tools": "the SDK does not tell calls that the provider has run from calls of the caller's",
    "openai_responses/without_index": "the SDK fails at items without their lists; ours has had them in the events",
}
"""Replies that the SDK reads otherwise, and why ours is the better reading."""

OWN = {"anthropic", "openai", "azure"}
"""Providers whose replies the SDKs are made for; what others imitate, they may read otherwise."""

REPLIES = [
    case
    for case in fixtures.cases(*BASES)
    if case.has_reply and case.call["provider"] in OWN and case.name not in DIFFERENT
]
BY_REPLY = pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in REPLIES])


def by_them(case: Case, client: Any, provider: Provider, body: bytes) -> Meaning:
    """Return what the SDK reads in *body*, sent with the status and headers of *case*."""
    headers = {"content-type": reply_scripts.SSE} | case.head["headers"]
    steps = [reply_scripts.head(case.head["status"], **headers | {"content-length": str(len(body))}), body]
    whole = case.head["status"] == 200 and body.lstrip().startswith(b"{")
    return READERS[case.wire](client, ASKS[case.wire] | {"model": provider.play(case.name, steps), "stream": not whole})


@BY_REPLY
def test_a_reply_means_the_same_to_the_sdk(
    case: Case, clients: dict[str, Any], sdks: dict[str, Any], provider: Provider
) -> None:
    ours: Meaning | SidecarError
    theirs: Any
    try:
        ours = by_us(fixtures.route(case), case.head["status"], case.head["headers"], case.body)
    except SidecarError as error:
        ours = error
    try:
        theirs = by_them(case, clients[case.wire], provider, case.body)
    except (sdks[case.wire].APIError, RefusedError, ValueError) as error:
        theirs = error
    if isinstance(ours, SidecarError):
        check_failure(ours, theirs)
    else:
        assert ours == theirs


def check_failure(ours: SidecarError, theirs: Any) -> None:
    body = ours.body
    if body.code == "stream_interrupted":
        # The SDKs take the end of the connection for the end of the reply: they can be no oracle of that.
        return
    assert isinstance(theirs, Exception)
    words = [getattr(theirs, name, None) for name in ("error_code", "code", "type")]
    if isinstance(inner := getattr(theirs, "body", None), dict):
        # What is beneath says more, and the SDK has no field for it.
        words.append((inner.get("innererror") or {}).get("code"))
    assert body.provider_code in [*map(str, filter(None, words)), None]
    status = getattr(theirs, "status_code", None)
    assert body.provider_status == (None if status == 200 else status)


# --- the same events written otherwise -------------------------------------------------------

SPELLINGS: dict[str, Callable[[bytes], bytes]] = {
    "CRLF": lambda body: body.replace(b"\n", b"\r\n"),
    "CR": lambda body: body.replace(b"\n", b"\r"),
    "comments": lambda body: b": hello\n\n" + body.replace(b"\n\n", b"\n: keep-alive\n\n: again\n\n"),
    "ids": lambda body: b"retry: 1000\n" + body.replace(b"data: ", b"id: 7\ndata: "),
    "no space": lambda body: body.replace(b"\ndata: ", b"\ndata:").replace(b"\nevent: ", b"\nevent:"),
    "data in two lines": lambda body: body.replace(b'data: {"', b'data: {\ndata: "'),
}
PLAIN = ("text", "thinking", "reasoning", "tools_parallel", "tools_interleaved")
SPELT = [case for case in REPLIES if case.path.name in PLAIN]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in SPELT])
def test_a_reply_means_the_same_however_it_is_spelt(
    case: Case, clients: dict[str, Any], provider: Provider, spelling: str
) -> None:
    body = SPELLINGS[spelling](case.body)
    assert body != case.body
    ours = by_us(fixtures.route(case), 200, case.head["headers"], body)
    assert ours == by_us(fixtures.route(case), 200, case.head["headers"], case.body)
    assert ours == by_them(case, clients[case.wire], provider, body)
