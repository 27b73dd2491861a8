"""Mistakes in a configuration: where each is, and what it is in plain words."""

import pytest

from sidecar.config import file
from sidecar.config.mistakes import describe_mistakes, describe_problem
from sidecar.config.values import ConfigError

MISTAKES: dict[str, list[str]] = {
    "surprise = 1": ["1: surprise: there is no such key"],
    "providers = 5": ["1: providers: must be a table"],
    "[providers]\nopenai = 5": ["2: providers.openai: must be a table"],
    "[providers.mine]\nname = 'Mine'": [
        "1: providers.mine: needs `wire`, as it is not a built-in provider",
        "1: providers.mine: needs `base_url`, as it is not a built-in provider",
    ],
    "[providers.openai]\nbase_url = 7\nauth_optional = 'yes'": [
        "2: providers.openai.base_url: must be a string",
        "3: providers.openai.auth_optional: must be true or false",
    ],
    "[providers.openai]\napi_keys = []": ["2: providers.openai.api_keys: must have at least 1 item, not 0"],
    "[providers.openai]\napi_keys = 'one'": ["2: providers.openai.api_keys: must be a list"],
    "[providers.openai]\ncredentials_file = 'here'": ["2: providers.openai.credentials_file: must be an absolute path"],
    "[providers.openai]\nquirks = { colour = true }": ["2: providers.openai.quirks: there is no key colour"],
    "[providers.openai]\nquirks = { done_marker = 'x' }": [
        "2: providers.openai.quirks: `done_marker`: expected `bool`, got `str`."
    ],
    "[route]\nmodels = 'careful'": ["2: route.models: there is no such list in [chains]"],
    "[models.quick]\nmodel = 'm'\noptions = { temperature = 'hot' }": [
        "3: models.quick.options: `temperature`: expected `float | null`, got `str`."
    ],
    "[models.quick]\n": ["1: models.quick.model: is required"],
    "[chains]\ncareful = []": ["2: chains.careful: must have at least 1 item, not 0"],
    "[gateway]\n": ["1: gateway: needs either `kind` or `prefix`"],
    "[gateway]\nkind = 'x'": ["1: gateway: `kind` must be one of cloudflare"],
    "[gateway]\nkind = 'cloudflare'": ["1: gateway: needs `account_id` and `gateway` beside `kind`"],
    "[limits]\nconcurrency = 0": ["2: limits.concurrency: must be greater than or equal to 1"],
    "[budgets]\nday_usd = -1\nwarn_at = 3": [
        "2: budgets.day_usd: must be greater than or equal to 0",
        "3: budgets.warn_at: must be less than or equal to 1",
    ],
    "[limits]\nconcurrency = 'x'\n[providers.openai]\napi_keyy = 'x'\n[provider.openai]\na = 1": [
        "2: limits.concurrency: must be a whole number",
        "4: providers.openai.api_keyy: there is no such key; did you mean api_key?",
        "5: provider: there is no such key; did you mean providers?",
    ],
    "[log]\nlevel = 'loud'": ["2: log.level: must be 'debug', 'info', 'warn', 'error' or 'off'"],
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_reads_as_a_sentence_about_its_key(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        file.parse(text.encode(), "config.toml")
    assert str(caught.value).splitlines() == [f"config.toml:{mistake}" for mistake in MISTAKES[text]]


@pytest.mark.parametrize(
    ("text", "keys", "place"),
    [
        ("a = 1\nb.c = 2", ("b", "c"), "f:2: b.c"),
        ("[b]\n'c' = 2", ("b", "c"), "f:2: b.c"),
        ('[ "b" . c ] # why', ("b", "c", "d"), "f:1: b.c.d"),
        ("[[b]]\nc = 1\n[[b]]\nc = 2", ("b", 1, "c"), "f:4: b.1.c"),
        ("b = { c = 1 }", ("b", "c"), "f:1: b.c"),
        ("# b = 1\n", ("b",), "f: b"),
    ],
)
def test_a_mistake_is_at_the_line_that_spells_out_most_of_its_keys(
    text: str, keys: tuple[int | str, ...], place: str
) -> None:
    assert describe_mistakes("f", text, [(keys, "Is wrong")]) == f"{place}: is wrong"


def test_a_problem_that_is_not_known_keeps_the_words_that_it_came_with() -> None:
    assert describe_problem("some_type", "Value error, too red") == "too red"
    assert describe_problem("some_type", "Input should be red") == "must be red"
