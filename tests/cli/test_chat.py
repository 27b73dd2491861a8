"""`sidecar chat`."""

import errno
import io
import json
from pathlib import Path

import pytest

from sidecar.cli.chat import describe_usage
from tests.support.command_line import CommandLine, Stream
from tests.support.fake_services import Answer, Services, document

TEXT = "A sidecar is a small process that runs beside a bigger one — naïvely put, its helper 🛵."


@pytest.fixture
def typing(services: Services, tmp_path: Path) -> CommandLine:
    return CommandLine(services, tmp_path)


def test_an_answer_goes_to_stdout_and_what_it_used_to_stderr(typing: CommandLine) -> None:
    code, out, err = typing.type("chat", "replay/text", "Hello")
    assert (code, out) == (0, TEXT + "\n")
    assert err.startswith("[21 tokens in, 24 tokens out, $0, ")


def test_what_is_piped_in_follows_the_prompt(services: Services, tmp_path: Path) -> None:
    services.answer("POST *", document({"error": {"type": "invalid_request_error", "message": "No."}}, 400))
    typing = CommandLine(services, tmp_path, ANTHROPIC_API_KEY="CANARY-key")
    code, _, err = typing.type("chat", "anthropic/claude-sonnet-5-5", "Say what it is:", stdin="a = 1\n")
    assert code == 2
    assert err.startswith("sidecar: No.")
    content = services.only().json["messages"][0]["content"]
    assert content in ("Say what it is:\n\na = 1\n", [{"type": "text", "text": "Say what it is:\n\na = 1\n"}])


def test_a_single_word_with_blanks_is_the_prompt_for_the_default_model(services: Services, tmp_path: Path) -> None:
    typing = CommandLine(services, tmp_path, '[tasks]\ndefault = "replay/text"\n')
    assert typing.type("chat", "What is it?").out == TEXT + "\n"


def test_without_a_model_and_a_default_it_says_what_to_type(typing: CommandLine) -> None:
    code, out, err = typing.type("chat", stdin="Hello")
    assert (code, out) == (2, "")
    assert err.startswith("sidecar: No model is named, and the configuration has no default.\n  try: name one: ")


def test_nothing_piped_in_is_no_prompt(typing: CommandLine) -> None:
    code, _, err = typing.type("chat", "replay/text")
    assert code == 2
    assert "There is no prompt" in err


def test_json_is_the_end_of_the_answer_alone(typing: CommandLine) -> None:
    code, out, err = typing.type("chat", "replay/text", "Hello", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["message"]["content"][0]["text"] == TEXT


def test_a_conversation_is_sent_whole_each_time_and_ends_with_the_input(services: Services, tmp_path: Path) -> None:
    typing = CommandLine(services, tmp_path)
    code, out, err = typing.type("chat", "replay/text", stdin="Hello\n\nAnd again\n", is_terminal=True)
    assert code == 0
    assert out.count(TEXT) == 2
    assert err.count("[21 tokens in") == 2


def test_a_conversation_goes_on_after_a_failure(typing: CommandLine) -> None:
    code, _, err = typing.type("chat", "replay/auth_failed", stdin="Hello\nAgain\n", is_terminal=True)
    assert code == 0
    assert err.count("sidecar login replay") == 2


def test_a_terminal_gets_no_control_characters_of_the_model(services: Services, tmp_path: Path) -> None:
    event = 'data: {{"choices":[{{"index":0,"delta":{{"content":"{}"}}{}}}]}}\n\n'
    body = (
        event.format(r"\u001b]0;owned\u0007\u202e", "")
        + event.format("", ',"finish_reason":"stop"')
        + "data: [DONE]\n\n"
    )
    services.answer("POST *", Answer(body.encode(), 200, {"content-type": "text/event-stream"}))
    typing = CommandLine(
        services, tmp_path, '[providers.lab]\nwire = "openai_chat"\nbase_url = "https://lab.test/v1"\n'
    )
    assert typing.type("chat", "lab/m", "Hi", stdin="", is_terminal=False).out == "\x1b]0;owned\x07\u202e\n"
    assert typing.type("chat", "lab/m", stdin="Hi", is_terminal=True).out == "␛]0;owned␇\ufffd\n"


def test_ctrl_c_cancels_and_says_what_was_used(typing: CommandLine) -> None:
    typing.interrupt_after = 2.0
    code, out, err = typing.type("chat", "replay/slow", "Hello")
    assert code == 130
    assert out.endswith("\n")
    assert err.startswith("[about ")


def test_a_reader_who_has_enough_ends_it_quietly(typing: CommandLine) -> None:
    class Closed(Stream):
        def write(self, text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, text)

    out: io.StringIO = Closed()
    assert typing.type("chat", "replay/text", "Hello", out=out)[::2] == (0, "")


def test_ctrl_c_ends_a_write_that_waits_for_its_reader(typing: CommandLine) -> None:
    class Stuck(Stream):
        def write(self, text: str) -> int:
            raise KeyboardInterrupt(text)

    assert typing.type("chat", "replay/text", "Hello", out=Stuck()).code == 130
    assert typing.type("chat", "replay/text", "Hello").code == 0


def test_a_model_that_does_not_exist_suggests_three(typing: CommandLine) -> None:
    code, _, err = typing.type("chat", "replay/txt", "Hello")
    assert code == 2
    assert "Did you mean replay/text, replay/" in err
    assert err.count("replay/") == 3


def test_a_model_that_a_provider_does_not_know_suggests_three_of_its_list(services: Services, tmp_path: Path) -> None:
    error = {"type": "error", "error": {"type": "not_found_error", "message": "model: claude-sonet-5-5"}}
    services.answer("POST https://api.anthropic.com/*", document(error, 404))
    names = ("claude-haiku-4-5", "claude-opus-4-6", "claude-sonnet-5-5", "other")
    services.answer("GET https://api.anthropic.com/*", document({"data": [{"id": name} for name in names]}))
    typing = CommandLine(services, tmp_path, ANTHROPIC_API_KEY="CANARY-key")
    code, _, err = typing.type("chat", "anthropic/claude-sonet-5-5", "Hello")
    assert code == 2
    assert err.splitlines() == [
        "sidecar: model: claude-sonet-5-5",
        "  Did you mean anthropic/claude-sonnet-5-5, anthropic/claude-opus-4-6 or anthropic/claude-haiku-4-5?",
        "  try: `sidecar models anthropic` lists them",
    ]


def test_a_model_without_its_provider_suggests_three_that_have_it(typing: CommandLine) -> None:
    code, _, err = typing.type("chat", "gpt-6", "Hello")
    assert code == 2
    assert err.count("/gpt-6") >= 3


def test_a_missing_key_names_the_login_and_the_variable(typing: CommandLine) -> None:
    code, _, err = typing.type("chat", "anthropic/claude-sonnet-5-5", "Hello")
    assert code == 1
    assert err.endswith("  try: `sidecar login anthropic` stores a key, or set ANTHROPIC_API_KEY\n")


def test_an_answer_that_was_cut_off_says_so(typing: CommandLine) -> None:
    code, _, err = typing.type("chat", "replay/length", "Hello")
    assert code == 0
    assert "the answer ended early: length" in err


def test_what_is_unknown_of_an_answer_is_left_out() -> None:
    assert describe_usage({"usage": None, "cost": {"usd": None}, "elapsed_ms": 40}) == "[cost unknown, 0.0 s]"


def test_a_mistake_in_the_configuration_is_said_with_its_place(services: Services, tmp_path: Path) -> None:
    typing = CommandLine(services, tmp_path, "[limits]\nmax_attempts = 0\n")
    code, _, err = typing.type("chat", "replay/text", "Hello")
    assert code == 2
    assert "config.toml" in err
    assert "try: correct the configuration" in err
