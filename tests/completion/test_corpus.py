"""Recorded completions of real providers, through the program, against what an independent reader found in them."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.wires.completions import registry
from sidecar.wires.completions.stream import CompletionStream
from sidecar.wires.completions.types import Piece
from tests.support.corpus import ROOT, Exchange
from tests.support.fake_services import Answer, Services
from tests.support.in_process import online

CORPUS = ROOT.parent / "corpus2"

WIRES = {
    "mistral.fim": "mistral_fim",
    "ollama.generate": "ollama_generate",
    "openai.completions": "openai_completions",
    "sourcegraph.code": "sourcegraph_code",
    "tabby.completions": "tabby_completions",
}
"""The wire of each API of the recordings."""

CODES = {401: "auth_failed", 403: "permission_denied"}

SPLITS = 3


def exchanges() -> Iterator[Exchange]:
    """Yield the completions at hand."""
    for meta in sorted(CORPUS.glob("*/*/meta.json")):
        exchange = Exchange(meta.parent)
        if exchange.meta["kind"] in ("completion", "fim"):
            yield exchange


ALL = [pytest.param(each, id=each.name) for each in exchanges()] or [
    pytest.param(None, marks=pytest.mark.skip(reason="the recordings are not at hand"))
]


def config(exchange: Exchange) -> str:
    """Return the configuration of a provider of the recording's API."""
    return (
        '[providers.recorded]\nwire = "openai_chat"\nbase_url = "https://recorded.example"\n'
        f'completion = {{ wire = "{WIRES[exchange.api]}", methods = ["fim"] }}\n'
    )


def params(exchange: Exchange) -> dict[str, Any]:
    """Return the request that asks what the recorded one has asked."""
    body = exchange.meta["request"]["body"] or {}
    segments = body.get("segments") or {}
    asked = body.get("prompt") or segments.get("prefix") or "x"
    prompt = asked[0] if isinstance(asked, list) else asked
    suffix = body.get("suffix") or segments.get("suffix") or ""
    return {
        "model": exchange.meta["model"] or "m",
        "prefix": prompt,
        "suffix": suffix,
        "options": {"trim": False, "n": min(8, body.get("n") or 1)},
    }


def answer(exchange: Exchange) -> Answer:
    """Return the recorded reply."""
    kind = {"sse": "text/event-stream", "ndjson": "application/x-ndjson"}.get(exchange.meta["body_kind"])
    return Answer(exchange.body, exchange.status, {"content-type": kind or "application/json"})


def check(exchange: Exchange, reply: dict[str, Any]) -> None:
    """Compare *reply* with the recording's oracle."""
    expected = exchange.expected
    if expected.get("error"):
        assert reply["error"]["code"] == CODES[expected["status"]]
        assert reply["error"]["provider_status"] == expected["status"]
        return
    data, items = reply["data"], reply["data"]["items"]
    choices = expected.get("choices") or [expected]
    assert [item["text"] for item in items] == [choice["text"] for choice in choices]
    assert [item.get("provider_finish_reason") for item in items] == [each["finish_reason_raw"] for each in choices]
    if usage := expected.get("usage_raw"):
        counts = {name: value for name, value in usage.items() if name in COUNTS}
        assert {name: data["usage"][COUNTS[name]] for name in counts} == counts
    if expected.get("model"):
        assert data["model"] == expected["model"]


COUNTS = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "prompt_eval_count": "input_tokens",
    "eval_count": "output_tokens",
}


@pytest.mark.parametrize("exchange", ALL)
def test_a_recorded_completion_is_read_as_its_oracle_says(
    exchange: Exchange, services: Services, tmp_path: Path
) -> None:
    services.answer("POST *", answer(exchange))
    with online(services, tmp_path, config(exchange)) as program:
        check(exchange, program.ask("complete", params(exchange), provider="recorded"))
        asked = services.asked()
    assert len(asked) == 1 or exchange.status >= 400


@pytest.mark.parametrize("exchange", ALL)
def test_a_recorded_completion_reads_alike_wherever_it_is_split(exchange: Exchange) -> None:
    if exchange.status != 200:
        return
    choices = exchange.expected.get("choices") or [exchange.expected]
    wanted = {number: choice["text"] for number, choice in enumerate(choices)}
    chance = random.Random(exchange.name)
    body = exchange.body
    for places in ([*range(1, len(body))], *(sorted(chance.sample(range(len(body)), 5)) for _ in range(SPLITS))):
        stream, out = CompletionStream(registry.load(WIRES[exchange.api]), {}), list[Piece]()
        for start, end in zip([0, *places], [*places, len(body)], strict=True):
            stream.feed(body[start:end], out)
        stream.end(out)
        texts: dict[int, str] = {}
        for item, text in out:
            texts[item] = texts.get(item, "") + text
        assert texts == wanted
