"""What a refusal changes about the next attempt."""

import pytest

from tests.support.fake_provider import Provider
from tests.support.program import Program
from tests.support.reply_scripts import OPENAI, document


@pytest.mark.parametrize(
    ("refused", "option", "value"),
    [
        ("temperature", "temperature", 0.5),
        ("seed", "seed", 7),
        ("reasoning_effort", "reasoning", {"effort": "low"}),
        ("parallel_tool_calls", "parallel_tool_calls", True),
    ],
)
def test_an_option_that_the_model_refuses_is_left_out(
    sidecar: Program, provider: Provider, refused: str, option: str, value: object
) -> None:
    error = {"code": "unsupported_value", "param": refused, "message": "No."}
    provider.play_in_turn("m", document({"error": error}, 400), OPENAI.answer("fine"))
    params = sidecar.params("m", OPENAI)
    params["options"] |= {option: value, "tools": [{"name": "now"}]}
    lines = sidecar.stream(sidecar.send("stream_chat", params, provider="openai"))
    assert [refused in call.json for call in provider.calls("m")] == [True, False]
    (warning,) = lines[0].data["data"]["warnings"]
    assert (warning["code"], warning["param"]) == ("option_left_out", f"params.options.{option}")


def test_an_option_that_an_answer_cannot_do_without_is_an_error(sidecar: Program, provider: Provider) -> None:
    error = {"code": "unsupported_value", "param": "tools", "message": "No."}
    provider.play("m", document({"error": error}, 400))
    params = sidecar.params("m", OPENAI)
    params["options"] |= {"tools": [{"name": "now"}]}
    reply = sidecar.ask("generate", params, provider="openai")
    assert (reply["error"]["code"], reply["error"]["param"]) == ("invalid_request", "params.options.tools")
    assert len(provider.calls("m")) == 1
