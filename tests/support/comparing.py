"""A program whose user has two providers, and comparisons of the models that they play."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.environment import environment
from tests.support.fake_provider import Provider
from tests.support.in_process import InProcess
from tests.support.lines import Line, Object
from tests.support.program import Program

CONFIG = """
[providers.anthropic]
base_url = "{url}"
api_key = "sk-ant-made-up"

[providers.openai]
base_url = "{url}/v1"
api_key = "sk-test-first"

[limits.providers.anthropic]
max_attempts = 1

[limits.providers.openai]
max_attempts = 1

[catalogue.anthropic.cheap]
price = {{ input = 1, output = 10 }}
[catalogue.anthropic.dear]
price = {{ input = 100, output = 1000 }}
"""
"""What is called cheap or dear costs so many US dollars per million tokens."""


@contextmanager
def comparing(folder: Path, provider: Provider, more: str = "") -> Iterator[Program]:
    """Yield the program, whose host wants to know the state of its requests; *more* is more of its configuration."""
    file = folder / "config" / "sidecar" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(CONFIG.format(url=provider.url) + more)
    with InProcess(folder, provider, env=environment(folder)) as program:
        program.ask("initialize", {"events": ["status"]})
        yield program


def compare_params(models: Sequence[Any], **more: Any) -> Object:
    """Return the params of a comparison of *models*, those without a provider being Anthropic's."""
    return {"models": [*models], "messages": [{"role": "user", "content": "Hi"}]} | more


def start(program: Program, models: Sequence[Any], **more: Any) -> Any:
    """Begin a comparison and return its id."""
    return program.send("compare", compare_params(models, **more), provider="anthropic")


def compare(program: Program, models: Sequence[Any], **more: Any) -> list[Line]:
    """Return the lines of a whole comparison."""
    return program.stream(start(program, models, **more))


def end(lines: Sequence[Line]) -> Object:
    """Return the `done` of a comparison."""
    data: Object = lines[-1].data["data"]
    assert data["type"] == "done"
    return data


def chunks(lines: Sequence[Line], branch: int, *kinds: str) -> list[Object]:
    """Return the chunks of a branch, those of some *kinds* if they are named."""
    found = [line.data["data"] for line in lines if "data" in line.data]
    return [each for each in found if each.get("branch") == branch and (not kinds or each["type"] in kinds)]


def branch_text(lines: Sequence[Line], branch: int) -> str:
    """Return the text of a branch as it was streamed."""
    return "".join(each["content"] for each in chunks(lines, branch, "content"))
