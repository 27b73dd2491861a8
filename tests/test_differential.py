"""The official SDKs as oracles: the same bytes mean the same to them, the same call is the same request.

Both sides talk to one server on this machine. The SDKs are slow to import: once for all tests.
"""

import json
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import msgspec
import pytest

from sidecar import auth, catalogue
from sidecar.auth import Call
from sidecar.errors import SidecarError
from sidecar.framing import decode_params
from sidecar.inflight import Progress
from sidecar.reply import play
from sidecar.resolve import Target
from sidecar.secret import Secret
from sidecar.transport import Limits, Transport, read_body
from sidecar.wires.types import Outcome, Route
from protocol.messages import Message, ReasoningPart, TextPart, ToolCallPart
from protocol.requests import Chat
from sidecar import wires
from tests import corpus, fixtures
from tests.e2e import shapes
from tests.e2e.provider import Call as Arrived
from tests.e2e.provider import Provider
from tests.fixtures import Case

KEY = "sk-CANARY-0123456789"
BASES = {"anthropic_messages": "", "openai_chat": "/v1", "openai_responses": "/v1"}
"""By wire: what follows the origin in the SDK's own base address."""

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="session")
def sdks() -> Iterator[dict[str, Any]]:
    """Yield the SDK of each wire, imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import anthropic
        import openai

        yield {"anthropic_messages": anthropic, "openai_chat": openai, "openai_responses": openai}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """Yield the server that both sides talk to."""
    with Provider() as listening:
        yield listening


@pytest.fixture
def client(request: pytest.FixtureRequest, sdks: dict[str, Any], provider: Provider) -> Iterator[Any]:
    """Yield a client of the SDK for the wire of the test's case."""
    wire = request.getfixturevalue("case").wire
    kind = sdks[wire].Anthropic if wire == "anthropic_messages" else sdks[wire].OpenAI
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with kind(api_key=KEY, base_url=provider.url + BASES[wire], max_retries=0, timeout=10) as made:
            yield made


# --- what a reply means ----------------------------------------------------------------------


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


def by_anthropic(client: Any, model: str) -> Meaning:
    """Read the reply by the SDK's own accumulator."""
    with client.messages.stream(model=model, messages=HELLO, max_tokens=100) as stream:
        pieces: dict[int, str] = {}
        for event in stream:
            if event.type == "content_block_delta" and event.delta.type == "input_json_delta":
                pieces[event.index] = pieces.get(event.index, "") + event.delta.partial_json
        message = stream.get_final_message()
    blocks = list(enumerate(message.content))
    usage = message.usage.model_dump()
    return Meaning(
        text="".join(block.text for _, block in blocks if block.type == "text"),
        reasoning="".join(block.thinking for _, block in blocks if block.type == "thinking"),
        calls=[
            (block.id, block.name, arguments(pieces.get(index) or json.dumps(block.input)))
            for index, block in blocks
            if block.type == "tool_use"
        ],
        finish=message.stop_reason,
        usage=corpus.USAGE["anthropic.messages"](usage),
    )


def by_openai_chat(client: Any, model: str) -> Meaning:
    """Read the reply chunk by chunk, as the SDK parses them."""
    text, reasoning, finish, usage = "", "", None, None
    calls: dict[int, dict[str, str]] = {}
    with client.chat.completions.create(model=model, messages=HELLO, stream=True) as stream:
        for chunk in stream:
            usage = chunk.usage.model_dump() if chunk.usage else usage
            for choice in chunk.choices or ():
                if choice.index != 0 or choice.delta is None:
                    continue
                finish = choice.finish_reason or finish
                text += (choice.delta.content or "") + (choice.delta.refusal or "")
                extra = choice.delta.model_extra or {}
                reasoning += extra.get("reasoning_content") or extra.get("reasoning") or ""
                for call in choice.delta.tool_calls or ():
                    known = calls.setdefault(call.index, {"id": "", "name": "", "text": ""})
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


def by_openai_responses(client: Any, model: str) -> Meaning:
    """Read the reply from the response that the SDK makes of its last event, or of the items where it has none."""
    response, items = None, []
    with client.responses.create(model=model, input="Hello", stream=True) as stream:
        for event in stream:
            if event.type == "response.output_item.done":
                items.append(event.item)
            elif event.type in ("response.completed", "response.incomplete", "response.failed"):
                response = event.response
            elif event.type == "error":
                raise Refused(event.message, event.code)
    if response is None:
        return Meaning("", "", [], None, None)
    if response.error is not None:
        raise Refused(response.error.message, response.error.code)
    output = response.output or items
    parts = [part for item in output if item.type == "message" for part in item.content]
    thoughts = [item for item in output if item.type == "reasoning"]
    reason = response.incomplete_details and response.incomplete_details.reason
    return Meaning(
        text="".join(part.text if part.type == "output_text" else part.refusal for part in parts),
        reasoning="".join(part.text for item in thoughts for part in (item.summary or item.content or ())),
        calls=[(item.call_id, item.name, arguments(item.arguments)) for item in output if item.type == "function_call"],
        finish=f"{response.status}:{reason}" if reason else response.status,
        usage=response.usage and corpus.USAGE["openai.responses"](response.usage.model_dump()),
    )


class Refused(Exception):
    """An error inside a stream that the SDK gives as an event."""

    def __init__(self, message: str, code: str | None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


READERS: dict[str, Callable[[Any, str], Meaning]] = {
    "anthropic_messages": by_anthropic,
    "openai_chat": by_openai_chat,
    "openai_responses": by_openai_responses,
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


DIFFERENT: dict[str, str] = {}
"""Replies that the SDK reads otherwise, and why ours is the better reading."""

OWN = {"anthropic", "openai", "azure"}
"""Providers whose replies the SDKs are made for; what others imitate, they may read otherwise."""

REPLIES = [
    case
    for case in fixtures.cases(*BASES)
    if case.has_reply and case.call["provider"] in OWN and case.name not in DIFFERENT
]
BY_REPLY = pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in REPLIES])


@BY_REPLY
def test_a_reply_means_the_same_to_the_sdk(case: Case, client: Any, sdks: dict[str, Any], provider: Provider) -> None:
    head, sdk = case.head, sdks[case.wire]
    kind = head["headers"].get("content-type", shapes.SSE)
    more = {name: value for name, value in head["headers"].items() if name not in ("content-type", "content-length")}
    model = provider.play(case.name, shapes.whole(case.body, head["status"], kind, **more))
    try:
        ours: Meaning | SidecarError = by_us(fixtures.route(case), head["status"], head["headers"], case.body)
    except SidecarError as error:
        ours = error
    try:
        theirs: Any = READERS[case.wire](client, model)
    except (sdk.APIError, Refused) as error:
        theirs = error
    if isinstance(ours, SidecarError):
        check_failure(ours, theirs)
    else:
        assert ours == theirs


def check_failure(ours: SidecarError, theirs: Any) -> None:
    body = ours.body
    if body.code == "stream_interrupted":
        # The SDKs take the end of the connection for the end of the reply.
        assert isinstance(theirs, (Meaning, Exception))
        return
    assert isinstance(theirs, Exception)
    words = [getattr(theirs, name, None) for name in ("error_code", "code", "type")]
    assert body.provider_code in [*map(str, filter(None, words)), None]
    status = getattr(theirs, "status_code", None)
    assert body.provider_status == (None if status == 200 else status)
