"""Answers that hold files, as a host gets them."""

from collections.abc import Sequence
from typing import Any

from tests.support.fake_provider import Provider
from tests.support.lines import Line, Object
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC, Shape

WHOLE = "Two files.\n\na.py\n```python\nx = 1\n```\n\nb/c.py\n```python\ny = 2\n```\n\nThat is all.\n"
"""A text with two files, which `auto` reads."""


def params(sidecar: Program, model: str, output: Object, shape: Shape = ANTHROPIC, **options: Any) -> Object:
    """Return the parameters of a chat for *output*."""
    asked = sidecar.params(model, shape)
    return asked | {"options": asked["options"] | {"output": output} | options}


def ask(
    sidecar: Program, provider: Provider, pieces: Sequence[str], output: Object | None = None, **options: Any
) -> list[Line]:
    """Return the lines of a stream whose text comes in *pieces*."""
    provider.play("m", ANTHROPIC.answer(*pieces))
    asked = params(sidecar, "m", output or {"type": "files"}, **options)
    return sidecar.stream(sidecar.send("stream_chat", asked, provider="anthropic"))


def chunks(lines: Sequence[Line], *kinds: str) -> list[Object]:
    """Return the chunks of these types, and assert that every file that begins ends once, before the last line."""
    datas = [line.data["data"] for line in lines if "data" in line.data]
    begun = [each["file"] for each in datas if each["type"] == "file_start"]
    assert sorted(each["file"] for each in datas if each["type"] == "file_end") == sorted(begun)
    assert len({*begun}) == len(begun)
    return [each for each in datas if each["type"] in kinds]


def text_of(lines: Sequence[Line], file: int) -> str:
    """Return the text of the chunks of a file."""
    return "".join(each["content"] for each in chunks(lines, "file_chunk") if each["file"] == file)
