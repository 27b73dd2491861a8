"""Recorded completions, and fast typing, through a process; `tests/completion/` has both in process."""

from pathlib import Path

import pytest

from tests.completion import test_corpus as corpus
from tests.support.fake_services import Answer, Services
from tests.support.lines import Id
from tests.support.listening_services import online
from tests.support.process import in_time

KEYSTROKES = 30


@pytest.mark.skipif(not corpus.CORPUS.is_dir(), reason="no recordings at hand")
def test_recorded_completions_come_out_of_a_process(services: Services, tmp_path: Path) -> None:
    config = "".join(
        f'[providers.{wire}]\nwire = "openai_chat"\nbase_url = "https://recorded.example"\n'
        f'completion = {{ wire = "{wire}", methods = ["fim"] }}\n'
        for wire in corpus.WIRES.values()
    )
    checked = 0
    with online(services, tmp_path, config, SIDECAR_MAX_ATTEMPTS="1") as sidecar:
        for exchange in corpus.exchanges():
            services.answer("POST *", corpus.answer(exchange))
            provider = corpus.WIRES[exchange.api]
            corpus.check(exchange, sidecar.ask("complete", corpus.params(exchange), provider=provider))
            checked += 1
    assert checked > 20


@pytest.mark.alone
def test_each_keystroke_ends_the_completion_before_it(services: Services, tmp_path: Path) -> None:
    event = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
    services.answer("POST *", Answer(event, headers={"content-type": "text/event-stream"}, stalls=True))
    with online(services, tmp_path, MISTRAL_API_KEY="CANARY-mistral") as sidecar:
        ids: list[Id] = []
        for key in range(KEYSTROKES):
            params = {"model": "codestral-latest", "prefix": f"{key} = ", "slot": "window"}
            ids.append(sidecar.send("complete", params, provider="mistral"))
        assert {sidecar.reply(each)["error"]["reason"] for each in ids[:-1]} == {"superseded"}
        sidecar.ask("cancel", {"id": ids[-1]})
        assert sidecar.reply(ids[-1])["error"]["code"] == "cancelled"
        in_time(sidecar.ping, 0.05)
        services.wait(lambda: all(seen.closed_at for seen in services.asked()), "the ends of all questions")
