"""Every recorded answer with vectors comes out as its oracle says, each number to the last digit."""

import json
from collections.abc import Iterator

import pytest

from sidecar.retrieval.vectors import read_vector
from sidecar.wires.embeddings import registry
from tests.support import recorded_vectors
from tests.support.corpus import Exchange
from tests.support.embeddings import collect
from tests.support.in_memory import InMemoryServices
from tests.support.in_process import online
from tests.support.program import Program
from tests.support.recorded_vectors import ENV, OWN, make_request, read_numbers

pytestmark = pytest.mark.long

EXCHANGES = recorded_vectors.list_exchanges()

if not EXCHANGES:
    pytest.skip("no recordings at hand", allow_module_level=True)

GOOD = [each for each in EXCHANGES if each.status == 200]
BAD = [each for each in EXCHANGES if each.status != 200]


@pytest.fixture(scope="module")
def services() -> InMemoryServices:
    return InMemoryServices()


@pytest.fixture(scope="module")
def sidecar(services: InMemoryServices, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with online(services, tmp_path_factory.mktemp("corpus"), OWN, **ENV) as program:
        yield program


def name_of(exchange: Exchange) -> str:
    return exchange.name


@pytest.mark.parametrize("exchange", GOOD, ids=name_of)
def test_recorded_vectors_come_out_to_the_last_digit(
    sidecar: Program, services: InMemoryServices, exchange: Exchange
) -> None:
    services.forget()
    services.answer("POST *", recorded_vectors.answer(exchange))
    provider, params = make_request(exchange, "float")
    lines = collect(sidecar, params, provider)
    assert lines[-1].get("type") == "done", lines[-1]
    vectors = [vector for line in lines[:-1] for vector in line["vectors"]]
    recorded_vectors.check(exchange, vectors, 0)
    if written := read_numbers(exchange.body):
        assert vectors == [[float(number) for number in vector] for vector in written]
    provider, params = make_request(exchange, "f32_base64")
    packed = collect(sidecar, params, provider)
    texts = [vector for line in packed[:-1] for vector in line["vectors"]]
    recorded_vectors.check(exchange, [recorded_vectors.unpack(text) for text in texts], 1e-5)


@pytest.mark.parametrize("exchange", GOOD, ids=name_of)
def test_the_text_of_each_number_is_kept(exchange: Exchange) -> None:
    written = read_numbers(exchange.body)
    found = registry.load(recorded_vectors.WIRES.get(exchange.api, "usual")).decode(exchange.body).found
    came = [
        json.loads(read_vector(raw, "float", None).text, parse_float=str, parse_int=str) for raw, _ in found if written
    ]
    assert came == written
    assert bool(written) == ("base64" not in str(exchange.meta["tags"]))


@pytest.mark.parametrize("exchange", BAD, ids=name_of)
def test_recorded_refusals_are_errors_with_their_words(
    sidecar: Program, services: InMemoryServices, exchange: Exchange
) -> None:
    services.forget()
    services.answer("POST *", recorded_vectors.answer(exchange))
    provider, params = make_request(exchange, "float")
    (line,) = collect(sidecar, params, provider)
    error, expected = line["error"], exchange.expected
    assert error["provider_status"] == expected["status"]
    assert error["code"] not in ("internal_error", "parse_error")
    assert error["message"][:20] == " ".join(str(expected["message"]).split())[:20]
