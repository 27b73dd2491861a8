"""`make live` against servers of our own, so that it works on the day that somebody has a key."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from protocol.requests import ACTIONS
from sidecar.catalogue.embedding_columns import find_embedding_row
from sidecar.providers.kinds import list_kinds
from tests.codecs.test_aws_eventstream import event
from tests.live import steps
from tests.support.fake_services import Answer, Seen, document
from tests.support.listening_services import ListeningServices
from tests.support.process import ROOT, environment
from tests.support.provider_rows import EVERY_ROW, ROWS, TOOLS, case_of, every_key, every_setting, reply_of, text_of

LISTS = json.loads((ROOT / "tests/upstream/lists.json").read_text(encoding="utf-8"))
CHEAP = "claude-haiku-9"
ASKED = [name for name, row in EVERY_ROW.items() if not row.models.are_deployments]
CHATTING = [name for name in ASKED if name in ROWS]
WITHOUT_A_LIVING_MODEL = {"completion": {"openai"}}
"""Kind → providers with an endpoint, and no model that it is for."""

OF_A_CHAT = ("models", "chat", "tool", "cancel", "count")
"""The steps of every provider that has a chat."""

VECTORS: dict[str, Callable[[int], object]] = {
    "usual": lambda count: {"data": [{"index": at, "embedding": [1.5]} for at in range(count)]},
    "gemini": lambda count: {"embeddings": [{"values": [1.5]}] * count},
    "gemini_predictions": lambda count: {"predictions": [{"embeddings": {"values": [1.5]}}] * count},
    "cohere": lambda count: {"embeddings": {"float": [[1.5]] * count}},
    "cloudflare": lambda count: {"result": {"data": [[1.5]] * count}, "success": True},
    "titan": lambda _: {"embedding": [1.5]},
}
"""Wire of embeddings → what so many vectors look like."""

COMPLETION = b"""\
data: {"choices": [{"index": 0, "text": "first + second", "delta": {"content": "first + second"}}]}

data: {"choices": [{"index": 0, "text": "", "delta": {}, "finish_reason": "stop"}]}

data: [DONE]

"""
"""The stream of a completion, with the text where any of the wires looks for it."""


@pytest.fixture
def services(tmp_path: Path) -> ListeningServices:
    """Return a server that is each provider below a path of its own."""
    return ListeningServices(tmp_path)


def live(services: ListeningServices, tmp_path: Path, *wanted: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command with those variables."""
    (tmp_path / "home").mkdir(exist_ok=True)
    bases = {f"SIDECAR_{name.upper()}_BASE_URL": f"{services.url}/{name}" for name in EVERY_ROW}
    return subprocess.run(
        [sys.executable, "-m", "tests.live", *wanted],
        cwd=ROOT,
        env=environment(tmp_path / "home", **(bases | env)),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def as_each_provider(services: ListeningServices) -> None:
    """Answer as every provider's own service does: a list, text, a call, and a long text that never ends."""
    for name in ASKED:
        row = EVERY_ROW[name]
        services.answer(f"POST {services.url}/{name}/*", partial(answer_of, name))
        for address, answer in LISTS.get(name, {"answers": {}})["answers"].items():
            base = urlsplit(
                (row.address.list_base_url or row.address.base_url).replace("{account_id}", "my-account_id")
            ).path
            parts = urlsplit(address)
            path = parts.path.removeprefix(base) + (f"?{parts.query}" if parts.query else "")
            services.answer(f"GET {services.url}/{name}{path}", document(answer))


def answer_of(name: str, seen: Seen) -> Answer:
    """Return what the provider *name* answers *seen* with, by what it asks."""
    if "def add(first, second)" in seen.text:
        return Answer(COMPLETION, headers={"content-type": "text/event-stream"})
    texts = sum(text in seen.text for text in steps.TEXTS)
    if steps.QUERY in seen.text:
        return document({"results": [{"index": at, "relevance_score": 0.5 - at} for at in range(texts)]})
    if texts:
        model = steps.PREFERRED["embedding"][name][0]
        row = find_embedding_row(EVERY_ROW[name].embeddings, model)
        assert row
        return document(VECTORS[row.wire](texts))
    return chat_of(EVERY_ROW[name].wire, seen)


def chat_of(wire: str, seen: Seen) -> Answer:
    """Return the answer of a chat, by what is asked."""
    said = seen.text
    if steps.LONG in said:
        whole = text_of(wire)
        # All but the last byte: the end has not come.
        return Answer(whole.body[: len(whole.body) * 2 // 3], headers=whole.headers, stalls=True)
    if steps.CALL in said and steps.RESULT not in said:
        return CALLS.get(wire) or reply_of(case_of(wire, TOOLS))
    return text_of(wire)


CALLS = {
    "bedrock_converse": Answer(
        b"".join(
            event(name, payload)
            for name, payload in (
                ("messageStart", b'{"role":"assistant"}'),
                (
                    "contentBlockStart",
                    b'{"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"t-1","name":"weather"}}}',
                ),
                ("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"toolUse":{"input":"{}"}}}'),
                ("contentBlockStop", b'{"contentBlockIndex":0}'),
                ("messageStop", b'{"stopReason":"tool_use"}'),
            )
        ),
        headers={"content-type": "application/vnd.amazon.eventstream"},
    )
}
"""Wire whose fixture calls a tool of another name → an answer that calls the one that is declared."""


@pytest.mark.spawns
def test_every_provider_with_a_credential_is_asked_step_by_step(services: ListeningServices, tmp_path: Path) -> None:
    models = {f"SIDECAR_LIVE_MODEL_{name.upper()}": f"model-of-{name}" for name in CHATTING if name != "anthropic"}
    with services:
        as_each_provider(services)
        # For this one the preference chooses of what its list has.
        services.answer(f"GET {services.url}/anthropic/*", document({"data": [{"id": "x-1"}, {"id": CHEAP}]}))
        ran = live(services, tmp_path, *ASKED, **every_key(), **every_setting(), **models)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    head, *lines = ran.stdout.splitlines()
    assert head.split() == ["provider", "model", *steps.STEPS]
    assert len(lines) == len(ASKED)
    assert [line.split()[0] for line in lines] == sorted(ASKED)
    for line in lines:
        provider, model, *_ = line.split()
        own = CHEAP if provider in CHATTING else "-"
        assert model == models.get(f"SIDECAR_LIVE_MODEL_{provider.upper()}", own)
        asked = len(OF_A_CHAT) if provider in CHATTING else 1
        asked += sum(
            provider in steps.PREFERRED[kind] and action in ACTIONS
            for kind, action in (("completion", "complete"), ("embedding", "embed"), ("rerank", "rerank"))
        )
        assert len(re.findall(r"\bok\b", line)) == asked, line
        assert "FAIL" not in line
    assert "CANARY" not in ran.stdout + ran.stderr


@pytest.mark.spawns
def test_failures_are_told_by_step_and_end_in_one(services: ListeningServices, tmp_path: Path) -> None:
    with services:
        services.answer("*", document({"error": {"message": "This key is no good."}}, 401))
        ran = live(services, tmp_path, GROQ_API_KEY="CANARY-groq", SIDECAR_LIVE_MODEL_GROQ="some-model")
    assert ran.returncode == 1
    row = next(line for line in ran.stdout.splitlines() if line.startswith("groq "))
    assert row.count("FAIL auth_failed") == 4
    assert "groq: chat: This key is no good." in ran.stdout
    assert "CANARY" not in ran.stdout + ran.stderr


@pytest.mark.spawns
def test_without_a_credential_it_says_where_it_looked(services: ListeningServices, tmp_path: Path) -> None:
    with services:
        services.answer("*", document({}, 404))
        bare = {"SIDECAR_OLLAMA_BASE_URL": "http://127.0.0.1:9"}
        ran = live(services, tmp_path, **bare)
    assert ran.returncode == 0
    for row in EVERY_ROW.values():
        assert all(variable in ran.stdout for variable in row.auth.key_env)


@pytest.mark.spawns
def test_a_provider_that_there_is_not(services: ListeningServices, tmp_path: Path) -> None:
    with services:
        ran = live(services, tmp_path, "nobody")
    assert (ran.returncode, ran.stdout) == (2, "")


@pytest.mark.parametrize(
    ("listed", "patterns", "chosen"),
    [
        (["m-4-mini", "m-10-mini", "m-11"], ["m-*-mini", "*"], "m-10-mini"),
        (["m-11", "m-2"], ["m-*-mini", "m-*"], "m-11"),
        (["a"], ["b"], None),
        ([], ["*"], None),
    ],
)
def test_the_newest_of_the_preferred_is_chosen(listed: list[str], patterns: list[str], chosen: str | None) -> None:
    assert steps.choose(listed, patterns) == chosen


def test_every_provider_that_lists_its_models_has_a_preference() -> None:
    assert set(steps.PREFERRED["chat"]) == set(CHATTING) - {"ollama"}
    for kind in ("completion", "embedding", "rerank"):
        known = {name for name in ASKED if kind in list_kinds(EVERY_ROW[name])}
        assert set(steps.PREFERRED[kind]) == known - {"ollama", "vercel"} - WITHOUT_A_LIVING_MODEL.get(kind, set())
