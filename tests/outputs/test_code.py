"""The code of an answer, as `done.code`."""

import pytest

from tests.outputs.streams import params
from tests.support.fake_provider import Provider
from tests.support.lines import Object
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC, OPENAI

FENCED = "Here it is:\n```python\nx = 1\n```\nand in the shell:\n```sh\nls\n```\n"


def code_of(sidecar: Program, provider: Provider, text: str, action: str, **output: str) -> Object:
    provider.play("m", ANTHROPIC.answer(*[text[at : at + 10_000] for at in range(0, len(text), 10_000)]))
    lines = sidecar.stream(sidecar.send(action, params(sidecar, "m", {"type": "code"} | output), provider="anthropic"))
    done: Object = lines[-1].data["data"]
    assert done["message"]["content"][0]["text"] == text
    found: Object = done["code"]
    return found


@pytest.mark.parametrize("action", ["stream_chat", "generate"])
def test_the_code_is_taken_out_of_the_prose(sidecar: Program, provider: Provider, action: str) -> None:
    found = code_of(sidecar, provider, FENCED, action, language="python")
    assert (found["language"], found["code"], found["problem"]) == ("python", "x = 1\n", None)
    assert [each["code"] for each in found["blocks"]] == ["x = 1\n", "ls\n"]


def test_which_of_two_blocks_is_the_code_is_not_guessed(sidecar: Program, provider: Provider) -> None:
    found = code_of(sidecar, provider, FENCED, "generate")
    assert (found["code"], found["problem"]) == (None, "several_blocks")


def test_a_long_answer_has_its_code_too(sidecar: Program, provider: Provider) -> None:
    code = "x = 1\n" * 30_000
    assert code_of(sidecar, provider, f"```python\n{code}```\n", "generate")["code"] == code


def test_a_resumed_answer_has_the_code_of_both_its_parts(sidecar: Program, provider: Provider) -> None:
    provider.play_in_turn("gpt-x", [*OPENAI.begun(FENCED[:25]), b"0\r\n\r\n"], OPENAI.answer(FENCED[25:]))
    asked = params(sidecar, "gpt-x", {"type": "code", "language": "python"}, OPENAI)
    error = sidecar.ask("stream_chat", asked, provider="openai")["error"]
    again = asked | {"partial_message": error["partial_message"], "method": error["resume"]["method"]}
    assert sidecar.ask("resume", again, provider="openai")["data"]["code"]["code"] == "x = 1\n"
