"""The Gemini request beyond its fixtures: what goes back as it came, and what may be sent at all."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.messages import Message
from protocol.requests import Chat
from sidecar.core.errors import SidecarError
from sidecar.wires import gemini as wire
from sidecar.wires.gemini.turns import fit_name
from sidecar.wires.shared.types import ModelFacts, Route
from tests.support import fixtures, mangled
from tests.support.fixtures import Case
from tests.support.gemini_chats import ASK, ROUTE, body, own_parts


def case(name: str) -> Case:
    return Case(fixtures.ROOT / "gemini" / name)


def refused(messages: list[Any], route: Route = ROUTE) -> SidecarError:
    with pytest.raises(SidecarError) as caught:
        body(messages, route)
    assert caught.value.body.code == "invalid_request"
    return caught.value


# --- what goes back --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["own_blocks", "thinking", "thinking_signed_parts", "grounding", "tools"])
def test_the_message_of_an_answer_goes_back_as_the_parts_that_it_came_in(name: str) -> None:
    answer, own = case(name), fixtures.route(case(name))
    message = msgspec.convert(fixtures.chunks(answer, [answer.body])[-1]["message"], Message)
    (turn,) = body([msgspec.to_builtins(message)], own)["contents"]
    assert turn == {"role": "model", "parts": sent_parts(answer)}

    foreign = msgspec.structs.replace(own, provider="another", model="gemini-2.5-flash")
    for turn in body([msgspec.to_builtins(message), *ASK], foreign)["contents"]:
        for part in turn["parts"]:
            assert part.keys() <= {"text", "functionCall", "functionResponse"}
            assert "id" not in part.get("functionCall", {})


def sent_parts(answer: Case) -> list[dict[str, Any]]:
    """Return the parts of a stream that must go back: unsigned texts joined, unsigned thoughts and blanks left out."""
    joined: list[dict[str, Any]] = []
    for event in mangled.events(answer):
        for part in own_parts(event):
            if part.keys() == {"text"} and joined and joined[-1].keys() == {"text"}:
                joined[-1]["text"] += part["text"]
            elif not (part.keys() <= {"text", "thought"} and ("thought" in part or not part["text"])):
                joined.append(part)
    return joined


@pytest.mark.parametrize("data", [7, "x", None, [], {}, {"thoughtSignature": None, "id": 5}, {"thoughtSignature": ""}])
def test_a_changed_state_is_left_out(data: object) -> None:
    state = {"provider": "mylab", "wire": "gemini", "data": data}
    parts = [
        {"type": "reasoning", "content": "Hm.", "state": state},
        {"type": "opaque", "kind": "toolCall", "state": state | {"provider": "another"}},
        {"type": "text", "text": "", "state": state},
        {"type": "text", "text": "Hello.", "state": state},
        {"type": "tool_call", "id": "c", "name": "a", "arguments": {}, "arguments_text": "", "state": state},
    ]
    route = msgspec.structs.replace(ROUTE, model="gemini-2.5-pro")
    (turn,) = body([{"role": "assistant", "content": parts}], route)["contents"]
    assert turn["parts"] == [{"text": "Hello."}, {"functionCall": {"name": "a", "args": {}}}]


@pytest.mark.parametrize(
    ("model", "signed"),
    [
        ("gemini-3-pro-preview", True),
        ("models/gemini-3.5-flash", True),
        ("gemini-4-carbon", True),
        ("gemini-10-pro", True),
        ("gemini-flash-latest", True),
        ("gemini-2.5-pro", False),
        ("gemini-2.0-flash", False),
        ("gemini-1.5-pro", False),
        ("gemma-4-26b-a4b-it", False),
        ("tunedModels/mine", False),
    ],
)
def test_another_providers_call_is_marked_for_the_models_that_want_a_signature(model: str, signed: bool) -> None:
    part = {"type": "tool_call", "id": "c", "name": "a", "arguments": {}, "arguments_text": ""}
    route = msgspec.structs.replace(ROUTE, model=model)
    (turn,) = body([{"role": "assistant", "content": [part, part | {"id": "d"}]}], route)["contents"]
    assert [("thoughtSignature" in each) for each in turn["parts"]] == [signed, False]


def test_a_call_whose_signature_stands_on_the_part_before_it_is_not_marked() -> None:
    state = {"provider": "mylab", "wire": "gemini", "data": {"thoughtSignature": "c2ln"}}
    parts = [
        {"type": "text", "text": "", "state": state},
        {"type": "tool_call", "id": "c", "name": "a", "arguments": {}, "arguments_text": ""},
    ]
    (turn,) = body([{"role": "assistant", "content": parts}])["contents"]
    assert turn["parts"] == [{"text": "", "thoughtSignature": "c2ln"}, {"functionCall": {"name": "a", "args": {}}}]


@given(st.text(max_size=100))
def test_any_name_becomes_one_that_the_api_accepts(name: str) -> None:
    plain = fit_name(name)
    assert 1 <= len(plain) <= 64
    assert plain[0].isalpha() or plain[0] == "_"
    assert all(c.isascii() and (c.isalnum() or c in "_.:-") for c in plain)
    assert fit_name(plain) == plain


# --- what may be sent ------------------------------------------------------------------------


def result(call_id: str, content: Any = "x") -> dict[str, Any]:
    return {"role": "tool", "content": [{"type": "tool_result", "id": call_id, "content": content}]}


CALL = {"type": "tool_call", "id": "c", "name": "a", "arguments": {}, "arguments_text": ""}
IMAGE = {"type": "image", "data": "aQ==", "media_type": "image/png"}


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([{"role": "system", "content": "Be brief."}], "params.messages"),
        ([{"role": "user", "content": ""}], "params.messages"),
        ([{"role": "system", "content": [IMAGE]}, *ASK], "params.messages[0].content[0]"),
        ([{"role": "user", "content": [CALL]}], "params.messages[0].content[0]"),
        ([{"role": "assistant", "content": result("c")["content"]}], "params.messages[0].content[0]"),
        ([*ASK, result("c")], "params.messages[1].content[0].id"),
        ([{"role": "assistant", "content": [CALL]}, result("d")], "params.messages[1].content[0].id"),
        ([{"role": "assistant", "content": [CALL]}, result("c"), result("c")], "params.messages[2].content[0].id"),
        (
            [{"role": "user", "content": [{"type": "image", "data": "aQ=="}]}],
            "params.messages[0].content[0].media_type",
        ),
        ([{"role": "user", "content": [IMAGE | {"url": "gs://b/i"}]}], "params.messages[0].content[0]"),
        (
            [{"role": "assistant", "content": [CALL]}, result("c", [{"type": "image", "url": "ftp://x"}])],
            "params.messages[1].content[0].content[0].url",
        ),
    ],
)
def test_content_that_the_api_cannot_carry_is_refused_with_its_path(messages: list[Any], param: str) -> None:
    assert refused(messages).body.param == param


def test_calls_of_one_id_in_one_turn_get_their_results_in_order() -> None:
    turns = [{"role": "assistant", "content": [CALL]}, {"role": "assistant", "content": [CALL | {"name": "b"}]}]
    contents = body([*turns, result("c", "first"), result("c", "second")])["contents"]
    assert [each["role"] for each in contents] == ["model", "user"]
    responses = [each["functionResponse"] for each in contents[1]["parts"]]
    assert [(each["name"], each["response"]) for each in responses] == [
        ("a", {"output": "first"}),
        ("b", {"output": "second"}),
    ]


def test_a_call_at_the_end_waits_for_its_result() -> None:
    (turn,) = body([{"role": "assistant", "content": [CALL]}])["contents"]
    assert turn["role"] == "model"


@pytest.mark.parametrize("model", ["../secrets", "a?key=b", "a&b", "x/..", "models/.."])
def test_a_model_name_cannot_change_the_url_around_it(model: str) -> None:
    for path in (None, f"/v1/{model}:x"):
        assert refused(ASK, msgspec.structs.replace(ROUTE, model=model, path=path)).body.param == "params.model"


def test_the_path_of_the_providers_table_is_used_as_it_is() -> None:
    path = "/v1beta1/projects/p/locations/global/publishers/google/models/m:streamGenerateContent?alt=sse"
    chat = Chat(model="m", messages=msgspec.convert(ASK, list[Message]))
    route = msgspec.structs.replace(ROUTE, path=path, headers={"x-extra": "1"})
    request = wire.encode(chat, route).request
    assert request.url == f"https://provider.test{path}"
    assert request.headers == {"content-type": "application/json", "x-extra": "1"}


@pytest.mark.long
@settings(max_examples=300)
@given(
    st.sampled_from(["gemini-2.5-pro", "gemini-2.5-flash", "gemini-3-pro-preview", "gemini-4-carbon", "mine"]),
    st.sampled_from([None, True, False]),
    st.sampled_from([None, "budget"]),
    st.lists(st.sampled_from(["none", "low", "high", "max", "odd"]), max_size=2),
    st.sampled_from([None, "none", "minimal", "low", "medium", "high", "xhigh", "max"]),
    st.none() | st.integers(0, 100_000),
)
def test_a_budget_and_a_level_are_never_sent_together(
    model: str, reasoning: bool | None, thinking: str | None, efforts: list[str], effort: Any, budget: int | None
) -> None:
    facts = ModelFacts(reasoning=reasoning, thinking=thinking, efforts=tuple(efforts))
    route = msgspec.structs.replace(ROUTE, model=model, facts=facts)
    wanted = {"effort": effort, "budget_tokens": budget}
    config = body(ASK, route, reasoning=wanted).get("generationConfig", {}).get("thinkingConfig", {})
    assert config.keys() <= {"includeThoughts", "thinkingBudget", "thinkingLevel"}
    assert not {"thinkingBudget", "thinkingLevel"} <= config.keys()
    assert config.get("thinkingLevel", "LOW") in {"MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH", "MAX"}
    if reasoning is False:
        assert config == {}
