"""`[tasks]` in the configuration: what it sets, and which line and key a mistake names."""

from pathlib import Path

import pytest

from sidecar.config import loader
from sidecar.config.values import Config
from tests.config.test_loader import mistakes


def load(folder: Path, text: str) -> Config:
    file = folder / "config.toml"
    file.write_text(text, encoding="utf-8")
    return loader.load(path=str(file), env={})


def test_a_table_sets_the_default_and_the_columns_that_it_names(tmp_path: Path) -> None:
    config = load(tmp_path, '[tasks]\ndefault = "a/m"\n[tasks.title]\nmodels = ["a/m", "b/m"]\nmax_chars = 500\n')
    assert config.task_model == "a/m"
    assert config.tasks == {"title": {"models": ["a/m", "b/m"], "max_chars": 500}}


def test_without_the_table_there_are_no_tasks_of_the_users_own(tmp_path: Path) -> None:
    config = load(tmp_path, "[log]\n")
    assert (config.task_model, config.tasks) == (None, {})


CHAIN = "model = 'a/m'\nchain = 'x'\n[chains]\nx = ['a/m']"
KINDS = "text, path, paths, files, phase, phases, issues, image"
TOLERANCES = "elision, exact, indent, punctuation, similar, whitespace"
MISTAKES = [
    ("[tasks]\ndefault = 7", "2: tasks.default: must be a string"),
    ("[tasks.Title]\nprompt = 'x'", "1: tasks.Title: must match pattern '^[a-z][a-z0-9_]{0,63}$'"),
    *(
        (f"[tasks.title]\n{text}", mistake.replace(": ", ": tasks.title", 1))
        for text, mistake in (
            ("modle = 'a/m'", "2: .modle: there is no such key"),
            (CHAIN, "1: : takes one of `model`, `models` and `chain`"),
            ("chain = 'x'", "2: .chain: there is no such list in [chains]"),
            ("options = { max_tokens = 0 }", "2: .options: `max_tokens`: expected `int` >= 1."),
            ("options = { modle = 0 }", "2: .options: there is no key modle"),
            ("max_chars = 1", "2: .max_chars: must be greater than or equal to 100"),
            ("output = { type = 'jsno' }", "2: .output: its `type` must be one of text, json, code, files"),
            ("output = { type = 'json', schmea = {} }", "2: .output: there is no key schmea"),
            ("output = { type = 'json', schema = 1 }", "2: .output: `schema` must be a table"),
            (
                "output = { type = 'files', tolerance = 'any' }",
                f"2: .output: `tolerance` must be one of: {TOLERANCES}.",
            ),
            ("output = { type = 'code', langauge = 'go' }", "2: .output: there is no key langauge"),
            ("output = { type = 'code', language = '$l' }", "2: .output: uses `$l`, which is not in `input`"),
            ("prompt = '$word $text'", "2: .prompt: uses `$word`, which is not in `input`"),
            ("prompt = '$text, 5$'", "2: .prompt: has a `$` that begins no input; write `$$` for a dollar sign"),
            ("input.word = 'text'", "2: .input.word: is not used: write it into the prompt with a `$` before it"),
            (
                "prompt = '$text $w'\ninput.w = 't'",
                f"3: .input.w: must be one of {KINDS}, with `?` after it if optional",
            ),
            ("input.Word = 'image'", "2: .input.Word: must be a word of small letters, digits and `_`"),
            (
                "prompt = '$text $w'\ninput.w = 'image'",
                "2: .prompt: uses `$w`, an image; images follow the prompt by themselves",
            ),
            ("choices = { w = { a = 'x' } }", "2: .choices.w: must be the name of an input whose kind is text"),
        )
    ),
    (
        "[tasks.own]\nsummary = 'x'",
        "1: tasks.own: needs a `prompt`, or a `system` message before the messages of the request",
    ),
]


@pytest.mark.parametrize(("text", "mistake"), MISTAKES)
def test_a_mistake_is_told_with_its_line_and_what_to_do(tmp_path: Path, text: str, mistake: str) -> None:
    assert mistakes(tmp_path / "config.toml", text) == [mistake]


def test_a_prompt_of_the_users_own_may_use_the_inputs_of_the_built_in_task(tmp_path: Path) -> None:
    config = load(tmp_path, "[tasks.title]\nprompt = 'Name it: $text ($style)'\ninput.style = 'text?'\n")
    assert config.tasks["title"]["input"] == {"style": "text?"}
