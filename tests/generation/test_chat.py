"""A chat through the whole program: the request that goes out, the chunks that come back, the one terminal line."""

import pytest

from tests.support.fake_provider import Provider
from tests.support.lines import CANARY, text
from tests.support.program import Program
from tests.support.reply_scripts import SHAPES, Shape

BY_SHAPE = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.wire)


@BY_SHAPE
def test_a_stream_gives_every_piece_in_order_and_one_done(sidecar: Program, provider: Provider, shape: Shape) -> None:
    pieces = [f"{number} né \U0001f600 " for number in range(50)]
    lines = sidecar.stream(sidecar.chat(provider.play("m", shape.answer(*pieces)), shape))

    assert lines[0].data["data"]["type"] == "start"
    assert text(lines) == "".join(pieces)
    done = lines[-1].data["data"]
    assert done["type"] == "done"
    assert done["finish_reason"] == "stop"
    assert done["usage"]["input_tokens"] == 10
    assert done["message"]["content"] in ("".join(pieces), [{"type": "text", "text": "".join(pieces)}])
    call = provider.call("m")
    assert CANARY in (call.headers.get("x-api-key"), call.headers.get("authorization", "").removeprefix("Bearer "))
    assert call.json["stream"] is True


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@BY_SHAPE
@pytest.mark.parametrize(
    ("answer", "valid", "value"),
    [
        ('{"city": "Oslo"}', True, {"city": "Oslo"}),
        ('```json\n{"city": 7}\n```', False, {"city": 7}),
        ("No.", False, None),
    ],
)
def test_json_that_was_asked_for_is_parsed_and_held_against_its_schema(
    sidecar: Program, provider: Provider, shape: Shape, answer: str, valid: bool, value: object
) -> None:
    wanted = {"type": "json_schema", "schema": SCHEMA}
    params = sidecar.params(provider.play("m", shape.answer(answer)), shape, options={"response_format": wanted})
    done = sidecar.stream(sidecar.send("stream_chat", params, provider=shape.provider))[-1].data["data"]

    found = done["structured"]
    assert (found["valid"], found["value"], found["error"] is None) == (valid, value, valid)
    assert done["finish_reason"] == "stop"
    assert found["native"] is not any(warning["code"] == "emulated" for warning in done["warnings"])


def test_without_json_asked_for_nothing_is_said_of_it(sidecar: Program, provider: Provider) -> None:
    lines = sidecar.stream(sidecar.chat(provider.play("m", SHAPES[0].answer("{}")), SHAPES[0]))
    assert "structured" not in lines[-1].data["data"]
