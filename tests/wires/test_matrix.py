"""Conversations move between providers: an answer of any of them makes a valid request to every other."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from protocol.messages import Message, Part, State, TextPart, Tool, ToolCallPart, ToolResultPart
from protocol.options import Options
from protocol.requests import Chat
from sidecar.catalogue import provider_rows
from sidecar.core.message_content import list_parts
from sidecar.wires import registry
from sidecar.wires.shared.types import ModelFacts, Route
from tests.support import fixtures
from tests.support.fixtures import Case
from tests.support.request_rules import RULES, nine_letters

pytestmark = pytest.mark.long

ANSWERS: list[tuple[Case, Message]] = [
    (case, msgspec.convert(last["message"], Message))
    for case in fixtures.cases()
    if case.has_reply and (last := case.expected[-1])["type"] == "done"
]
"""Every fixture with a whole answer, and the message of that answer."""

CALLING = [(case, answer) for case, answer in ANSWERS if any(isinstance(p, ToolCallPart) for p in list_parts(answer))]

USER = Message(role="user", content="Look at the weather.")
NEXT = Message(role="user", content="Go on.")
ODD_IDS = ["call_0", "call_0", "call.1", "call:1", "ключ", "", "x" * 200, f"{'x' * 200}y", "functions.read:0"]
"""Ids in alphabets and lengths that some wires refuse, and one id twice."""

MODELS = {
    "anthropic": ["claude-sonnet-5-5"],
    "bedrock": ["us.anthropic.claude-sonnet-5-5-v1:0", "amazon.nova-pro-v1:0"],
    "gemini": ["gemini-2.5-pro", "gemini-3-pro"],
    "vertex": ["gemini-3-pro", "claude-sonnet-5-5", "meta/llama-4"],
    "openai": ["gpt-4.1", "gpt-5.6-sol"],
    "xai": ["grok-3", "grok-4.7"],
    "cloudflare": ["@cf/meta/llama-3.3-70b-instruct-fp8-fast"],
}


def _routes() -> Iterator[Route]:
    """Yield a route to every built-in provider, for each of some models and each wire of those."""
    for name, row in provider_rows.read_providers().items():
        has_chats = row.transport != "replay" and row.wire != "none"
        for model in MODELS.get(name, ["m-1"]) if has_chats else ():
            others = row.address.paths if not row.models.wire_rules else ()
            for wire in sorted({provider_rows.choose_wire(row, model), *others}):
                yield Route(
                    provider=name, wire=wire, model=model, base_url="https://provider.test", quirks=row.quirks,
                    facts=ModelFacts(reasoning=True), settings={"region": "us-east-1"}, seed="s_",
                )  # fmt: skip


ROUTES = [pytest.param(route, id=f"{route.provider}-{route.wire}-{route.model}") for route in _routes()]


def _results(answer: Message) -> list[Part]:
    calls = [part for part in list_parts(answer) if isinstance(part, ToolCallPart)]
    return [ToolResultPart(call.id, f"Result {at}.", is_error=at == 1) for at, call in enumerate(calls)]


def _body(route: Route, messages: list[Message], **options: Any) -> dict[str, Any]:
    chat = Chat(model=route.model, messages=messages, options=Options(**options))
    encoded = registry.load(route.wire).encode(chat, route)
    body: dict[str, Any] = json.loads(encoded.request.body)
    return body


def _broken(route: Route, messages: list[Message], **options: Any) -> list[str]:
    body = _body(route, messages, **options)
    found = list(RULES[route.wire](body))
    if route.quirks.tool_ids == "nine":
        found += nine_letters(body)
    return found


def _continued(answer: Message) -> dict[str, list[Message]]:
    """Return conversations in which *answer* is a turn, by what they try."""
    results = _results(answer)
    apart = [Message(role="tool", content=[each]) for each in reversed(results)]
    together = [Message(role="tool", content=results)] if results else []
    mixed = Message(role="user", content=[*results, TextPart("And now?")])
    system = Message(role="system", content="Be brief.")
    return {
        "one message of results": [system, USER, answer, *(together or [NEXT])],
        "messages of one result, the last first": [USER, answer, *apart, NEXT],
        "results and text of one message": [USER, answer, mixed],
        "results after a text": [USER, answer, NEXT, *together, NEXT],
        "no results": [USER, answer, NEXT],
        "the first result alone": [USER, answer, Message(role="tool", content=results[:1])] if results else [USER],
        "the same again": [USER, answer, *together, answer, *together, NEXT, answer, *(together or [NEXT])],
        "nothing before": [answer, *together, NEXT],
    }


@pytest.mark.parametrize("route", ROUTES)
def test_an_answer_of_any_provider_makes_a_valid_request_to_every_other(route: Route) -> None:
    broken = [
        f"{case.name}, {tried}: {problem}"
        for case, answer in ANSWERS
        for tried, messages in _continued(answer).items()
        for problem in _broken(route, messages)
    ]
    assert broken == []


@pytest.mark.parametrize("route", ROUTES)
def test_a_history_is_valid_with_tools_and_without(route: Route) -> None:
    tools = [Tool(name="weather"), Tool(name="now")]
    for case, answer in CALLING:
        messages = _continued(answer)["one message of results"]
        assert _broken(route, messages, tools=tools) == [], case.name
        assert _broken(route, messages, tools=tools, tool_choice="none") == [], case.name


@pytest.mark.parametrize("route", ROUTES)
def test_ids_and_names_of_any_shape_fit_and_stay_apart(route: Route) -> None:
    calls = [ToolCallPart(id=each, name="fs.read file", arguments={"at": at}) for at, each in enumerate(ODD_IDS)]
    answer = Message(role="assistant", content=[*calls])
    for tried, messages in _continued(answer).items():
        assert _broken(route, messages) == [], tried


@pytest.mark.parametrize("route", ROUTES)
def test_a_result_stays_with_its_call_when_an_id_repeats(route: Route) -> None:
    def turn(at: int) -> list[Message]:
        call = ToolCallPart(id="call_0", name="look", arguments={"at": at})
        result = ToolResultPart("call_0", f"seen {at}")
        return [Message(role="assistant", content=[call]), Message(role="tool", content=[result])]

    messages = [USER, *turn(1), NEXT, *turn(2), NEXT, *turn(3)]
    assert _broken(route, messages) == []
    text = json.dumps(_body(route, messages))
    where = [text.index(f"seen {at}") for at in (1, 2, 3)]
    assert where == sorted(where)


@pytest.mark.parametrize("route", ROUTES)
def test_no_state_or_reasoning_goes_to_another_provider(route: Route) -> None:
    for case, answer in ANSWERS:
        sent = json.dumps(_body(route, [USER, answer, NEXT]))
        for state in _states(answer):
            if (state.provider, state.wire) != (route.provider, route.wire):
                assert not [each for each in _secrets(state.data) if json.dumps(each)[1:-1] in sent], case.name


def _states(answer: Message) -> list[State]:
    states = [getattr(part, "state", None) for part in list_parts(answer)]
    return [state for state in states if state is not None]


def _secrets(data: Any, key: str = "") -> Iterator[str]:
    """Yield what only the provider could have put into its state: signatures and encrypted text."""
    if isinstance(data, dict):
        for name, value in data.items():
            yield from _secrets(value, name)
    elif isinstance(data, list):
        for value in data:
            yield from _secrets(value, key)
    elif isinstance(data, str) and data and key in SECRETS:
        yield data


SECRETS = frozenset(
    {"signature", "thoughtSignature", "encrypted_content", "redactedContent", "data", "reasoning_opaque"}
)


# --- there and back --------------------------------------------------------------------------

OWN = [pytest.param(case, answer, id=case.name) for case, answer in ANSWERS if _states(answer)]


@pytest.mark.parametrize(("case", "answer"), OWN)
def test_a_provider_gets_its_own_state_back_byte_for_byte(case: Case, answer: Message) -> None:
    route = fixtures.route(case)
    after = Message(role="tool", content=_results(answer)) if _results(answer) else NEXT
    sent = json.dumps(_body(route, [USER, answer, after]))
    for state in _states(answer):
        for secret in _secrets(state.data):
            assert json.dumps(secret) in sent
