"""The templates of families: the exact prompt of each, and which model has which."""

import pytest

from sidecar.wires.completions.families import Template, escape_tokens, fill_template, find_family, read_families
from sidecar.wires.completions.types import File

PROMPTS = {
    "mercury-coder": "<|file_sep|>a.py\n<|fim_prefix|>P<|fim_suffix|>S<|fim_middle|>",
    "qwen2.5-coder:7b-base": "<|fim_prefix|>P<|fim_suffix|>S<|fim_middle|>",
    "Qwen/Qwen3-Coder-30B-A3B-Instruct": "<|fim_prefix|>P<|fim_suffix|>S<|fim_middle|>",
    "codegemma:2b": "<|fim_prefix|>P<|fim_suffix|>S<|fim_middle|>",
    "granite4:3b": "<|fim_prefix|>P<|fim_suffix|>S<|fim_middle|>",
    "granite-3.3-8b": "<fim_prefix>P<fim_suffix>S<fim_middle>",
    "codeqwen1.5": "<fim_prefix>P<fim_suffix>S<fim_middle>",
    "bigcode/starcoder2-3b": "<fim_prefix>P<fim_suffix>S<fim_middle>",
    "santacoder": "<fim-prefix>P<fim-suffix>S<fim-middle>",
    "codellama:7b-code": "<PRE> P <SUF>S <MID>",
    "deepseek-coder-6.7b": "<\uff5cfim\u2581begin\uff5c>P<\uff5cfim\u2581hole\uff5c>S<\uff5cfim\u2581end\uff5c>",
    "codestral:22b": "[SUFFIX]S[PREFIX]P",
    "Seed-Coder-8B-Base": "<[fim-prefix]>P<[fim-suffix]>S<[fim-middle]>",
    "glm-4.5": "<|code_prefix|>P<|code_suffix|>S<|code_middle|>",
    "codegeex4-all-9b": (
        "<|user|>\n###PATH:a.py\n###LANGUAGE:python\n###MODE:BLOCK\n"
        "<|code_suffix|>S<|code_prefix|>P<|code_middle|><|assistant|>\n"
    ),
}


@pytest.mark.parametrize(("model", "prompt"), PROMPTS.items(), ids=list(PROMPTS))
def test_a_model_is_given_the_tokens_that_it_was_trained_with(model: str, prompt: str) -> None:
    family = find_family(model)
    assert family is not None
    assert fill_template(family, Template(prefix="P", suffix="S", path="a.py", language="python")) == prompt


@pytest.mark.parametrize(
    "model",
    [
        "gpt-6",
        "claude-sonnet-5-5",
        "qwen3:8b",
        "deepseek-v4-pro",
        "deepseek-r1",
        "glm-5.1",
        "codellama:34b",
        "llama3.1",
    ],
)
def test_a_model_that_was_not_trained_for_it_has_no_template(model: str) -> None:
    assert find_family(model) is None


FILES = {
    "qwen2.5-coder": (
        "<|repo_name|>repository\n<|file_sep|>b.py\nB\n<|file_sep|>a.py\n<|fim_prefix|>P<|fim_suffix|>S<|fim_middle|>"
    ),
    "codestral": "[SUFFIX]S[PREFIX]+++++ b.py \nB\n\n+++++ a.py \nP",
    "starcoder2": "<file_sep>B<file_sep><fim_prefix>P<fim_suffix>S<fim_middle>",
    "codellama": "# b.py\nB\n\n# a.py\n<PRE> P <SUF>S <MID>",
}


@pytest.mark.parametrize(("model", "prompt"), FILES.items(), ids=list(FILES))
def test_other_files_come_first_in_the_form_of_the_family(model: str, prompt: str) -> None:
    family = find_family(model)
    assert family is not None
    given = Template(prefix="P", suffix="S", path="a.py", files=(File("b.py", "B"),))
    assert fill_template(family, given) == prompt


@pytest.mark.parametrize("name", read_families())
def test_tokens_in_the_users_text_are_broken(name: str) -> None:
    family = read_families()[name]
    text = "".join(f"a{token}b" for token in family.tokens)
    assert not [token for token in family.tokens if token in escape_tokens(text, family)]
    assert escape_tokens("a < b", family) == "a < b"


def test_names_of_the_template_in_the_users_text_stay() -> None:
    family = find_family("qwen2.5-coder")
    assert family is not None
    assert fill_template(family, Template(prefix="{s}", suffix="{p}")).count("{") == 2
