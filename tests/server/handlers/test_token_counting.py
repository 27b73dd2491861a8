"""`count_tokens` by what the program has itself: how it counts, and what it refuses to count."""

from pathlib import Path

import pytest

from tests.support.fake_services import Services
from tests.support.in_process import InProcess
from tests.support.lines import Object
from tests.support.program import Program
from tests.support.token_counts import CHAT, count

pytestmark = pytest.mark.long

# --- by a vocabulary -------------------------------------------------------------------------


def test_a_text_is_counted_exactly_where_the_vocabulary_is_the_models_own(bare: Program, services: Services) -> None:
    for model, vocabulary, tokens in (
        ("gpt-6", "o200k_base", 2),
        ("gpt-4", "cl100k_base", 2),
        ("gpt-oss-20b", "o200k_harmony", 2),
    ):
        for exact in (False, True):
            data = count(bare, "openai", model, text="hello world", exact=exact)["data"]
            assert data == {
                "tokens": tokens,
                "exact": True,
                "method": "vocabulary",
                "basis": vocabulary,
                "warnings": [],
            }
    assert count(bare, "openai", "gpt-6", text="")["data"]["tokens"] == 0
    assert count(bare, "openai", "gpt-6", text="<|endoftext|> is text here")["data"]["tokens"] > 5
    assert services.asked() == []


def test_messages_are_framed_by_the_models_family(bare: Program) -> None:
    two = [{"role": "system", "content": "Follow the system instructions."}, {"role": "user", "content": ""}]
    data = count(bare, None, "openai/gpt-4.1-mini", messages=two, options={})["data"]
    # What the provider has billed for these two; a host may add something of its own.
    assert (data["tokens"], data["exact"], data["method"]) == (16, False, "vocabulary")
    deployed = {"settings": {"deployments": {"prod": {"base_model": "gpt-4.1-mini"}}}}
    assert count(bare, "azure", "prod", messages=two, options={}, **deployed)["data"] == data
    assert count(bare, "azure", "prod", messages=two, options={})["data"]["method"] == "estimate"


def test_a_preset_is_counted_as_the_model_that_it_stands_for(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    preset = '[models.quick]\nprovider = "openai"\nmodel = "gpt-4o"\n'
    (tmp_path / "config.toml").write_text(preset, encoding="utf-8")
    with InProcess(tmp_path / "home", arguments=["--config", str(tmp_path / "config.toml")]) as sidecar:
        assert count(sidecar, None, "quick", text="hello world")["data"]["basis"] == "o200k_base"
        usage = {"input_tokens": 1_000_000, "output_tokens": 0}
        assert sidecar.ask("calculate_cost", {"model": "quick", "usage": usage})["data"]["usd"] == "2.5"


MEGABYTE = "The quick brown fox; it's 12345 jumps over the lazy dog — naïvely.\n" * 15_000
"""A little more than that."""


def test_many_counts_at_once_share_one_vocabulary(bare: Program) -> None:
    ids = [
        bare.send("count_tokens", {"model": "gpt-4", "text": f"hello world {n}"}, provider="openai") for n in range(50)
    ]
    assert {bare.reply(each)["data"]["tokens"] for each in ids} == {4}


def test_a_count_can_be_cancelled_while_it_counts(bare: Program) -> None:
    request_id = bare.send("count_tokens", {"model": "gpt-6", "text": MEGABYTE * 8}, provider="openai")
    bare.send("cancel", {"id": request_id})
    assert bare.reply(request_id)["error"]["code"] == "cancelled"


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"model": "gpt-6"}, "params.messages"),
        ({"model": "gpt-6", "text": "x", "messages": CHAT["messages"]}, "params.messages"),
        ({"model": "gpt-6", "messages": []}, "params.messages"),
        ({"text": "x"}, "params.model"),
        ({"model": "gpt-6", "text": "x", "exact": "yes"}, "params.exact"),
    ],
)
def test_what_is_no_count_is_refused(bare: Program, params: Object, param: str) -> None:
    error = bare.ask("count_tokens", params, provider="openai")["error"]
    assert (error["code"], error["param"]) == ("invalid_request", param)
