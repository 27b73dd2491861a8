"""`sidecar providers` and `sidecar models`, and what is typed wrongly."""

import json
from pathlib import Path

import pytest

from sidecar.cli.lists import format_tokens
from tests.support.command_line import CommandLine
from tests.support.fake_services import Services, document


@pytest.fixture
def typing(services: Services, tmp_path: Path) -> CommandLine:
    return CommandLine(services, tmp_path, ANTHROPIC_API_KEY="CANARY-key")


def test_providers_that_are_ready_come_first(typing: CommandLine) -> None:
    code, out, err = typing.type("providers")
    rows = [line.split() for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert rows[0][0] == "PROVIDER"
    assert rows[1][:3] == ["anthropic", "Anthropic", "ready"]
    assert rows[-1][-4:] == ["login", "xai", "or", "XAI_API_KEY"]


def test_a_narrow_terminal_has_the_cells_of_a_row_below_each_other(typing: CommandLine) -> None:
    typing.env["COLUMNS"] = "40"
    lines = typing.type("providers", is_terminal=True).out.splitlines()
    at = lines.index("cerebras")
    assert lines[at + 1 : at + 3] == ["  NAME         Cerebras", "  STATE        no key"]


def test_a_terminal_has_colours_unless_the_user_wants_none(typing: CommandLine) -> None:
    assert "\x1b[32m" in typing.type("providers", is_terminal=True).out
    typing.env["NO_COLOR"] = "1"
    assert "\x1b[3" not in typing.type("providers", is_terminal=True).out


def test_programs_get_json(typing: CommandLine) -> None:
    found = json.loads(typing.type("providers", "--json").out)
    assert {each["id"] for each in found} > {"anthropic", "replay"}


def test_models_have_limits_and_prices(services: Services, typing: CommandLine) -> None:
    listed = {"data": [{"id": "claude-sonnet-5-5", "type": "model"}], "has_more": False}
    services.answer("GET https://api.anthropic.com/*", document(listed))
    code, out, _ = typing.type("models", "anthropic")
    assert code == 0
    assert out.splitlines()[1].split()[:5] == ["anthropic/claude-sonnet-5-5", "1M", "128K", "2", "10"]
    assert json.loads(typing.type("models", "anthropic", "--json").out)[0]["id"] == "claude-sonnet-5-5"


def test_one_list_that_fails_leaves_the_others(services: Services, typing: CommandLine) -> None:
    services.answer("GET *", document({"error": {"type": "authentication_error", "message": "No."}}, 401))
    code, out, err = typing.type("models")
    assert code == 0
    assert "replay/text" in out
    assert "sidecar: anthropic: No." in err


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["chta"], "Did you mean 'chat'?"),
        (["models", "--jsno"], "Did you mean '--json'?"),
        (["models", "opnai"], "Did you mean `openai`?"),
        (["chat", "opnai/gpt-6", "Hi"], "Did you mean `openai`?"),
    ],
)
def test_what_is_mistyped_suggests_the_nearest(typing: CommandLine, arguments: list[str], suggestion: str) -> None:
    code, out, err = typing.type(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("sidecar: ")
    assert suggestion in err


@pytest.mark.parametrize(
    ("tokens", "text"), [(None, ""), (512, "512"), (8192, "8.2K"), (200_000, "200K"), (10**6, "1M")]
)
def test_tokens_are_said_shortly(tokens: int | None, text: str) -> None:
    assert format_tokens(tokens) == text
