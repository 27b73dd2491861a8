"""`sidecar usage` and `sidecar count`."""

import json
from pathlib import Path

import pytest

from sidecar.cli.tables import draw_bar
from sidecar.cli.usage import MAX_BARS, format_usd, make_chart
from tests.support.command_line import CommandLine
from tests.support.fake_services import Answer, Services

EVENTS = (
    'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}],'
    '"usage":{"prompt_tokens":1000000,"completion_tokens":7}}\n\ndata: [DONE]\n\n'
)
LAB = """\
[providers.lab]
wire = "openai_chat"
base_url = "https://lab.test/v1"
[catalogue.lab.m]
price = { input = "2", output = "10" }
"""


@pytest.fixture
def typing(services: Services, tmp_path: Path) -> CommandLine:
    services.answer("POST https://lab.test/*", Answer(EVENTS.encode(), 200, {"content-type": "text/event-stream"}))
    return CommandLine(services, tmp_path, LAB)


def test_what_was_asked_is_a_row_and_a_bar(typing: CommandLine) -> None:
    assert typing.type("usage")[::2] == (0, typing.type("usage").err)
    assert typing.type("chat", "lab/m", "Hi").code == 0
    code, out, err = typing.type("usage")
    lines = [line.split() for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert lines[0] == ["PROVIDER", "MODEL", "REQUESTS", "FAILED", "IN", "OUT", "$"]
    assert lines[1] == ["lab", "m", "1", "1M", "7", "2.00"]
    assert lines[2][:2] == ["total", "1"]
    assert lines[-1][1:] == ["1", "2.00", "█" * 24]


def test_a_report_is_grouped_as_one_likes(typing: CommandLine) -> None:
    typing.type("chat", "lab/m", "Hi")
    out = typing.type("usage", "--by", "finish_reason").out
    assert out.splitlines()[0].startswith("FINISH REASON")
    found = json.loads(typing.type("usage", "--by", "outcome", "--json").out)
    assert found["rows"][0]["group"] == {"outcome": "ok"}


def test_a_group_that_does_not_exist_lists_those_that_do(typing: CommandLine) -> None:
    code, _, err = typing.type("usage", "--by", "modle")
    assert code == 2
    assert "'model'" in err


def test_a_provider_that_does_not_exist_suggests_the_nearest(typing: CommandLine) -> None:
    code, _, err = typing.type("usage", "--provider", "opnai")
    assert code == 2
    assert "Did you mean `openai`?" in err
    assert typing.type("usage", "--provider", "openai").err.startswith("Nothing was asked since ")


def test_a_day_that_is_none_names_the_option(typing: CommandLine) -> None:
    code, _, err = typing.type("usage", "--since", "yesterday")
    assert code == 2
    assert "since" in err


def test_days_without_requests_have_no_bar() -> None:
    rows = [{"group": {"day": f"2026-11-0{day}"}, "requests": day, "cost_usd": "0"} for day in (1, 4)]
    chart = make_chart(rows)
    assert [row[0] for row in chart] == [f"2026-11-0{day}" for day in (1, 2, 3, 4)]
    assert [len(row[3]) for row in chart] == [6, 0, 0, 24]
    assert not make_chart([])


def test_a_chart_is_no_longer_than_a_screen() -> None:
    rows = [{"group": {"day": day}, "requests": 1, "cost_usd": "1"} for day in ("2025-01-01", "2026-11-01")]
    assert len(make_chart(rows)) == MAX_BARS


@pytest.mark.parametrize(("usd", "text"), [("0", "0.00"), ("1.239", "1.24"), ("0.00042", "0.00042"), ("12", "12.00")])
def test_little_money_is_not_none(usd: str, text: str) -> None:
    assert format_usd(usd) == text


def test_what_is_more_than_nothing_has_a_bar() -> None:
    assert draw_bar(0.001, 100) == "▏"
    assert draw_bar(0, 100) == ""


@pytest.mark.longest
def test_tokens_of_a_text_and_of_a_pipe_are_counted(typing: CommandLine) -> None:
    found = json.loads(typing.type("count", "openai/gpt-6-sol", "--json", stdin="What is a sidecar?").out)
    assert (found["tokens"], found["exact"]) == (6, True)
    code, out, err = typing.type("count", "anthropic/claude-sonnet-5-5", "What is a sidecar?")
    assert (code, out) == (0, "10\n")
    assert err == "An estimate, up to 25 % off (o200k_base × 1.53).\n"


def test_nothing_to_count_is_said(typing: CommandLine) -> None:
    code, _, err = typing.type("count", "openai/gpt-6-sol", is_terminal=True)
    assert code == 2
    assert "There is no text." in err
