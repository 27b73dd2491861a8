"""Vectors through the process: to the last digit, for a host that does not read, and when the provider breaks off."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import recorded_vectors
from tests.support.embeddings import KEY, collect
from tests.support.environment import ROOT, environment
from tests.support.fake_services import Answer, Seen, document
from tests.support.listening_services import ListeningServices, online
from tests.support.process import Sidecar
from tests.support.recorded_vectors import ENV, OWN, make_request

pytestmark = pytest.mark.spawns

DIMENSIONS = 512

MOST_BATCHES = 12
"""How many batches cannot be asked for while the host does not read: four and what has been written."""

NUMBERS = b"[[0.0123456789,-0.50,2.5e-3,0.7071067811865476],[-0.0,1E-7,0.25000000000000000000001,-1]]"

SLICE = [each for each in recorded_vectors.list_exchanges() if each.status == 200][::6]
"""All of them are compared in process."""


@pytest.fixture
def services(tmp_path: Path) -> Iterator[ListeningServices]:
    with ListeningServices(tmp_path) as made:
        yield made


def answer(seen: Seen) -> Answer:
    numbers = (int(text.partition(" ")[0]) for text in seen.json["input"])
    entries = [{"index": at, "embedding": [number, *[0.25] * (DIMENSIONS - 1)]} for at, number in enumerate(numbers)]
    return document({"data": entries, "usage": {"prompt_tokens": 1, "total_tokens": 1}})


def params(services: ListeningServices, count: int) -> dict[str, Any]:
    inputs = [f"{number} x" for number in range(count)]
    return {"model": "text-embedding-3-small", "inputs": inputs, "api_key": KEY, "base_url": f"{services.url}/v1"}


def count_delivered(lines: list[Any]) -> int:
    """Return how many vectors came, after a look at whether each is that of its input."""
    numbers = [
        (line["offset"] + at, vector[0])
        for line in lines
        if line.get("type") == "vectors"
        for at, vector in enumerate(line["vectors"])
    ]
    assert numbers == [(number, number) for number in range(len(numbers))]
    return len(numbers)


def test_digits_leave_the_process_as_they_were_written(tmp_path: Path) -> None:
    line = (
        b'{"id":1,"action":"embed","provider":"replay",'
        b'"params":{"model":"embeddings/usual_text","inputs":["def f(): ...","class A: ..."]}}\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "sidecar"],
        input=line,
        capture_output=True,
        check=True,
        cwd=ROOT,
        env=environment(tmp_path),
        timeout=30,
    )
    assert b'"vectors":' + NUMBERS in done.stdout


def test_recorded_vectors_leave_the_process_as_the_oracle_has_them(services: ListeningServices, tmp_path: Path) -> None:
    with online(services, tmp_path, OWN, **ENV) as sidecar:
        for exchange in SLICE:
            services.answer("POST *", recorded_vectors.answer(exchange))
            provider, asked = make_request(exchange, "float")
            lines = collect(sidecar, asked, provider)
            recorded_vectors.check(exchange, [vector for line in lines[:-1] for vector in line["vectors"]], 0)


@pytest.mark.long
def test_a_host_that_does_not_read_stops_the_next_batches(services: ListeningServices, tmp_path: Path) -> None:
    services.answer("POST *", answer)
    with Sidecar(tmp_path) as sidecar:
        sidecar.pause()
        request_id = sidecar.send("embed", params(services, 2000), provider="openai")
        # Its pipe, its lane and the batches that wait are full long before the 18th.
        services.wait(lambda: len(services.asked()) >= 4, "the first batches")
        with services.changed:
            assert not services.changed.wait_for(lambda: len(services.seen) >= MOST_BATCHES, 1.0)
        sidecar.resume()
        lines = [line.data["data"] for line in sidecar.stream(request_id)]
    assert count_delivered(lines) == 2000
    assert lines[-1]["type"] == "done"


def test_a_provider_that_hangs_up_leaves_what_was_delivered(services: ListeningServices, tmp_path: Path) -> None:
    def hang_up(seen: Seen) -> Answer:
        if "300 x" not in seen.json["input"]:
            return answer(seen)
        return Answer(b'{"data":[', headers={"content-type": "application/json", "content-length": "99999"})

    services.answer("POST *", hang_up)
    with Sidecar(tmp_path) as sidecar:
        lines = collect(sidecar, params(services, 500))
        error = lines[-1]["error"]
        assert error["code"] in ("network_error", "stream_interrupted", "provider_error")
        assert error["partial"]
        assert count_delivered(lines) == error["next_offset"] == 226
        services.answer("POST *", answer)
        rest = collect(sidecar, params(services, 500) | {"offset": error["next_offset"]})
    assert rest[0]["offset"] == 226
    assert sum(line.get("count", 0) for line in rest) == 500 - 226


def test_a_cancelled_request_says_how_far_it_has_come(services: ListeningServices, tmp_path: Path) -> None:
    def wait(seen: Seen) -> Answer:
        return Answer(stalls=True) if "300 x" in seen.json["input"] else answer(seen)

    services.answer("POST *", wait)
    with Sidecar(tmp_path) as sidecar:
        request_id = sidecar.send("embed", params(services, 500), provider="openai")
        sidecar.chunk(request_id, 10)
        assert sidecar.ask("cancel", {"id": request_id})["data"]["found"]
        lines = sidecar.stream(request_id)
        error = lines[-1].data["error"]
    assert error["code"] == "cancelled"
    assert count_delivered([line.data["data"] for line in lines[:-1]]) == error["next_offset"] <= 226
