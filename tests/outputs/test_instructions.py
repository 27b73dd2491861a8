"""The format that the sidecar teaches a model, and requests for an output that make no sense."""

from typing import Any

import msgspec
import pytest

from protocol.messages import Message
from protocol.outputs import FilesOutput
from protocol.requests import Chat
from sidecar.outputs.instructions import add_instructions, choose_nonce
from tests.outputs.streams import chunks, params
from tests.support.fake_provider import Provider
from tests.support.lines import Object
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC

TAUGHT = FilesOutput(format="blocks", instruct=True)
HELLO = [Message(role="user", content="Hi")]


def test_a_model_that_is_taught_the_format_is_read_by_it(sidecar: Program, provider: Provider) -> None:
    nonce = choose_nonce(HELLO, TAUGHT)
    foreign = "<<<< file ffffff b.py\nno file\n>>>> file ffffff\n```python\nx\n```\n"
    text = f"Here.\n<<<< file {nonce} a.py # Adds.\n{foreign}>>>> file {nonce}\n<<<< run {nonce} make\n"
    provider.play("m", ANTHROPIC.answer(text))
    asked = params(sidecar, "m", {"type": "files", "format": "blocks", "instruct": True})
    lines = sidecar.stream(sidecar.send("stream_chat", asked, provider="anthropic"))
    assert nonce in str(provider.call("m").json["system"])
    (start,) = chunks(lines, "file_start")
    assert (start["path"], start["purpose"]) == ("a.py", "Adds.")
    assert lines[-1].data["data"]["files"][0]["content"] == foreign
    assert [each["command"] for each in chunks(lines, "command")] == ["make"]


def test_the_instructions_follow_the_system_messages_of_the_host() -> None:
    system = Message(role="system", content="Be brief.")
    chat, nonce = add_instructions(Chat(model="m", messages=[system, *HELLO]), TAUGHT)
    assert [each.role for each in chat.messages] == ["system", "system", "user"]
    assert nonce is not None
    assert nonce in str(chat.messages[1].content)
    assert add_instructions(Chat(model="m", messages=HELLO), FilesOutput())[1] is None


def test_later_turns_and_resumed_answers_have_the_same_word() -> None:
    """So the provider's cache of the prompt stays valid, and the model sees one word in the whole conversation."""
    nonce = choose_nonce(HELLO, TAUGHT)
    later = [*HELLO, Message(role="assistant", content=f"<<<< file {nonce} a"), Message(role="user", content=nonce)]
    assert choose_nonce(later, TAUGHT) == nonce
    assert choose_nonce([Message(role="user", content="Hello")], TAUGHT) != nonce


def test_a_word_that_stands_in_a_text_is_not_taken() -> None:
    nonce = choose_nonce(HELLO, TAUGHT)
    other = choose_nonce(HELLO, msgspec.structs.replace(TAUGHT, existing={"a": f">>>> file {nonce}"}))
    assert other != nonce
    assert choose_nonce([*HELLO, Message(role="user", content=nonce)], TAUGHT) != nonce


@pytest.mark.parametrize(
    ("output", "options", "param"),
    [
        ({"type": "files", "format": "patch", "instruct": True}, {}, "params.options.output.instruct"),
        ({"type": "files"}, {"response_format": {"type": "json"}}, "params.options.output"),
        ({"type": "code"}, {"response_format": {"type": "json_schema"}}, "params.options.output"),
        ({"type": "files", "existing": {"../a": ""}}, {}, "params.options.output.existing"),
        ({"type": "files", "existing": {"C:\\a": ""}}, {}, "params.options.output.existing"),
        ({"type": "files", "existing": {"a": "", "./a": ""}}, {}, "params.options.output.existing"),
        ({"type": "files", "existing": {f"{at}": "" for at in range(10_001)}}, {}, "params.options.output.existing"),
        ({"type": "folders"}, {}, "params.options.output.type"),
        ({"type": "files", "format": "zip"}, {}, "params.options.output.format"),
    ],
    ids=["patch", "json", "json and code", "parent", "drive", "twice", "many", "type", "format"],
)
def test_an_output_that_makes_no_sense_is_refused(
    sidecar: Program, provider: Provider, output: Object, options: dict[str, Any], param: str
) -> None:
    asked = params(sidecar, "m", output, **options)
    error = sidecar.ask("stream_chat", asked, provider="anthropic")["error"]
    assert (error["code"], error["param"]) == ("invalid_request", param)
    assert ".." not in error["message"]
    assert provider.calls("m") == []


def test_the_text_output_goes_with_any_format_of_the_answer(sidecar: Program, provider: Provider) -> None:
    provider.play("m", ANTHROPIC.answer("{}"))
    asked = params(sidecar, "m", {"type": "text"}, response_format={"type": "json"})
    assert sidecar.ask("generate", asked, provider="anthropic")["data"]["structured"]["valid"]
