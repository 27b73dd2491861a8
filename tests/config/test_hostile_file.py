"""A file that would fail later, or never end."""

from pathlib import Path

import pytest

from sidecar.config import loader
from sidecar.config.values import ConfigError


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (".".join(["a"] * 50_000) + " = 1\n", "64 parts"),
        ("[" + ".".join(['"a"'] * 50_000) + "]\n", "64 parts"),
        (
            '[providers.lab]\nwire = "openai_chat"\nbase_url = "https://lab.test"\nheaders = { a = "b\\r\\nc" }\n',
            "header",
        ),
        ('[providers.lab]\nwire = "openai_chat"\nbase_url = "https://lab.test"\nheaders = { "a b" = "c" }\n', "header"),
    ],
    ids=["a dotted key", "a dotted table", "a line end in a header", "a blank in its name"],
)
def test_what_would_fail_later_or_never_end_is_a_mistake_at_once(tmp_path: Path, text: str, word: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=word):
        loader.load(path=str(file), env={})
