"""`complete`, in process, over a transport that answers by rule."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_services import Answer, Services
from tests.support.in_process import InProcess, online

AREA = {"model": "codestral-latest", "prefix": "def area(r):\n    return ", "suffix": "\n\nprint(area(2))\n"}


def events(*payloads: str) -> Answer:
    """Return a stream of events, with its end marker."""
    body = "".join(f"data: {payload}\n\n" for payload in (*payloads, "[DONE]"))
    return Answer(body.encode(), headers={"content-type": "text/event-stream"})


LINE = (
    '{"model":"codestral-2508","choices":[{"index":0,"delta":{"content":"PI * r"}}]}',
    '{"choices":[{"index":0,"delta":{"content":" * r\\n\\nprint(area(2))"},"finish_reason":"stop"}],"usage":{}}',
    '{"choices":[],"usage":{"prompt_tokens":57,"completion_tokens":7,"total_tokens":64}}',
)


@pytest.fixture
def program(services: Services, tmp_path: Path) -> Iterator[InProcess]:
    with online(services, tmp_path, MISTRAL_API_KEY="CANARY-mistral") as each:
        yield each


def complete(program: InProcess, **more: Any) -> dict[str, Any]:
    reply: dict[str, Any] = program.ask("complete", AREA | more, provider="mistral")
    return reply


def test_a_completion_is_what_the_provider_writes_up_to_the_end_of_the_line(
    services: Services, program: InProcess
) -> None:
    services.answer("POST *", events(*LINE))
    data = complete(program)["data"]
    assert data["items"] == [
        {"text": "PI * r * r", "finish_reason": "stop", "provider_finish_reason": "stop", "cut_by": "line"}
    ]
    assert (data["method"], data["reused"], data["model"]) == ("fim", False, "codestral-2508")
    assert data["usage"]["output_tokens"] == 7
    seen = services.only()
    assert seen.url == "https://api.mistral.ai/v1/fim/completions"
    assert seen.json == {
        "model": "codestral-latest",
        "prompt": AREA["prefix"],
        "suffix": AREA["suffix"],
        "max_tokens": 128,
        "temperature": 0.0,
        "stream": True,
    }


def test_a_recorded_exchange_completes_without_a_key(program: InProcess) -> None:
    params = AREA | {"model": "completion"}
    data = program.ask("complete", params, provider="replay")["data"]
    assert data["items"][0]["text"] == "PI * r * r"
