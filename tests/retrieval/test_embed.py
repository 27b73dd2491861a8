"""The action `embed` in process: batches, order, retries, and what a host has when it breaks off."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.embeddings import KEY, collect
from tests.support.fake_services import Answer, Seen, Services, document
from tests.support.in_memory import InMemoryServices
from tests.support.in_process import online
from tests.support.program import Program

MODEL = "text-embedding-3-small"

BATCH = 113
"""How many texts of MODEL are in a batch."""


def vector(text: str) -> list[float]:
    """Return the vector that the fake provider makes of *text*: its number, and its length."""
    return [float(text.partition(" ")[0]), float(len(text))]


def answer(seen: Seen) -> Answer:
    """Answer as OpenAI does."""
    entries = [{"index": number, "embedding": vector(text)} for number, text in enumerate(seen.json["input"])]
    usage = {"prompt_tokens": len(entries), "total_tokens": len(entries)}
    return document({"data": entries, "model": MODEL, "usage": usage})


def ask(sidecar: Program, inputs: list[str], **params: Any) -> list[Any]:
    return collect(sidecar, {"model": MODEL, "inputs": inputs} | params)


def delivered(lines: list[Any]) -> dict[int, list[float]]:
    """Return the vectors of *lines* by the number of their input, each checked to come next."""
    found: dict[int, list[float]] = {}
    for line in lines:
        if line.get("type") == "vectors":
            assert line["count"] == len(line["vectors"])
            assert not found or line["offset"] == max(found) + 1
            found |= dict(enumerate(line["vectors"], line["offset"]))
    return found


@pytest.fixture
def services() -> Services:
    made = InMemoryServices()
    made.answer("POST *", answer)
    return made


@pytest.fixture
def sidecar(services: Services, tmp_path: Path) -> Iterator[Program]:
    with online(services, tmp_path, OPENAI_API_KEY=KEY, SIDECAR_MAX_ATTEMPTS="3") as program:
        yield program


def texts(count: int) -> list[str]:
    return [f"{number} x" for number in range(count)]


def test_many_texts_are_delivered_in_order(sidecar: Program, services: Services) -> None:
    lines = ask(sidecar, texts(1000))
    assert delivered(lines) == {number: vector(text) for number, text in enumerate(texts(1000))}
    sizes = sorted(len(seen.json["input"]) for seen in services.asked())
    assert sizes == [1000 - 8 * BATCH, *[BATCH] * 8]
    done = lines[-1]
    assert (done["type"], done["batches"], done["dimensions"]) == ("done", 9, 2)
    assert done["usage"]["input_tokens"] == 1000
    assert done["cost"]["usd"] == "0.00002"


def test_a_batch_that_fails_for_a_moment_is_asked_again_alone(sidecar: Program, services: Services) -> None:
    services.answer("POST *", answer, document({"error": {"message": "busy"}}, 503), answer)
    lines = ask(sidecar, texts(300))
    assert sorted(delivered(lines)) == list(range(300))
    assert lines[-1]["batches"] == 3
    assert len(services.asked()) == 4


def test_a_request_that_breaks_off_says_where_to_go_on(sidecar: Program, services: Services) -> None:
    def fail(seen: Seen) -> Answer:
        third = f"{2 * BATCH} x" in seen.json["input"]
        return document({"error": {"message": "no"}}, 401) if third else answer(seen)

    services.answer("POST *", fail)
    lines = ask(sidecar, texts(3 * BATCH))
    error = lines[-1]["error"]
    had = delivered(lines)
    assert error["code"] == "auth_failed"
    assert (error["partial"], error["next_offset"]) == (True, len(had)) == (True, 2 * BATCH)
    assert error["usage"]["input_tokens"] == 2 * BATCH
    services.answer("POST *", answer)
    rest = ask(sidecar, texts(3 * BATCH), offset=error["next_offset"])
    assert had | delivered(rest) == {number: vector(text) for number, text in enumerate(texts(3 * BATCH))}
    assert rest[-1]["type"] == "done"


def test_an_offset_at_the_end_has_nothing_to_ask(sidecar: Program, services: Services) -> None:
    (done,) = ask(sidecar, texts(3), offset=3)
    assert (done["type"], done["batches"], done["dimensions"], services.asked()) == ("done", 0, None, [])
    (refused,) = ask(sidecar, texts(3), offset=4)
    assert refused["error"]["param"] == "params.offset"


@pytest.mark.parametrize(
    ("inputs", "param", "reason"),
    [
        ([], "params.inputs", None),
        (["a", "", "b"], "params.inputs[1]", "empty_input"),
        (["a", "b", "c\x00d"], "params.inputs[2]", "nul"),
        (["a", 1], "params.inputs[1]", None),
    ],
)
def test_an_input_that_no_model_reads_is_named(
    sidecar: Program, services: Services, inputs: list[Any], param: str, reason: str | None
) -> None:
    (line,) = ask(sidecar, inputs)
    error = line["error"]
    assert (error["code"], error["param"], error.get("reason")) == ("invalid_request", param, reason)
    assert services.asked() == []


def test_half_of_a_character_is_named(sidecar: Program) -> None:
    line = rb'{"id":9,"action":"embed","provider":"openai","params":{"model":"m","inputs":["a","\ud800"]}}' + b"\n"
    error = sidecar.refusal(line)
    assert (error["code"], error["param"]) == ("parse_error", "params.inputs[1]")


# --- texts that are too long -----------------------------------------------------------------


def limited(seen: Seen) -> Answer:
    """Refuse texts of more than 60 characters, as a provider that counts otherwise than we do."""
    if any(len(text) > 60 for text in seen.json["input"]):
        return document({"error": {"message": "This model's maximum context length is 20 tokens."}}, 400)
    return answer(seen)


def test_the_one_text_that_is_too_long_is_found_by_halves_and_named(sidecar: Program, services: Services) -> None:
    services.answer("POST *", limited)
    inputs = texts(1000)
    inputs[700] = "700 " + "x" * 100
    lines = ask(sidecar, inputs)
    error = lines[-1]["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "params.inputs[700]")
    assert "truncate" in error["hint"]
    # The batch that has it begins at 678: what is before is delivered.
    assert sorted(delivered(lines)) == list(range(error["next_offset"])) == list(range(6 * BATCH))


def test_a_text_that_is_too_long_is_cut_if_asked(sidecar: Program, services: Services) -> None:
    services.answer("POST *", limited)
    inputs = texts(300)
    inputs[150] = "150 " + "x" * 100
    lines = ask(sidecar, inputs, truncate=True)
    assert sorted(delivered(lines)) == list(range(300))
    assert [line["truncated"] for line in lines[:-1] if line["truncated"]] == [[150]]
    assert 50 < delivered(lines)[150][1] <= 60


def test_a_text_that_surely_is_too_long_is_not_sent(sidecar: Program, services: Services) -> None:
    (line,) = ask(sidecar, ["word " * 40_000])
    assert (line["error"]["code"], line["error"]["param"]) == ("context_length_exceeded", "params.inputs[0]")
    assert services.asked() == []
    lines = ask(sidecar, ["1 " + "word " * 40_000], truncate=True)
    assert lines[0]["truncated"] == [0]
    assert 20_000 < delivered(lines)[0][1] < 40_000


def test_a_provider_that_cuts_is_asked_to_only_for_the_text_that_is_too_long(
    services: Services, tmp_path: Path
) -> None:
    def cutting(seen: Seen) -> Answer:
        body = seen.json
        if not body["truncate"] and any(len(text) > 60 for text in body["input"]):
            return document({"error": "the input length exceeds the context length"}, 400)
        return document({"model": "m", "embeddings": [vector(text) for text in body["input"]], "prompt_eval_count": 1})

    services.answer("POST *", cutting)
    with online(services, tmp_path, OLLAMA_HOST="https://ollama.example") as sidecar:
        inputs = ["0 a", "1 " + "x" * 100, "2 c", "3 d"]
        lines = collect(sidecar, {"model": "m", "inputs": inputs, "truncate": True}, "ollama")
    assert sorted(delivered(lines)) == [0, 1, 2, 3]
    assert lines[0]["truncated"] == [1]
    assert [seen.json["input"] for seen in services.asked() if seen.json["truncate"]] == [inputs[1:2]]


def test_too_many_inputs_are_asked_for_in_halves(sidecar: Program, services: Services) -> None:
    def small(seen: Seen) -> Answer:
        if len(seen.json["input"]) > 30:
            return document({"code": "3210", "message": "Too many inputs in request, split into more batches."}, 400)
        return answer(seen)

    services.answer("POST *", small)
    lines = ask(sidecar, texts(100))
    assert sorted(delivered(lines)) == list(range(100))
    assert lines[-1]["batches"] == 4


# --- replies that are wrong ------------------------------------------------------------------


def entries(*vectors: Any, numbered: bool = True) -> Answer:
    made = [{"embedding": each} | ({"index": at} if numbered else {}) for at, each in enumerate(vectors)]
    return document({"data": made, "usage": {"prompt_tokens": 3, "total_tokens": 3}})


def with_index(*pairs: tuple[Any, Any]) -> Answer:
    return document({"data": [{"index": index, "embedding": each} for index, each in pairs]})


WRONG: dict[str, tuple[Answer, int, str]] = {
    "fewer vectors": (entries([1], [2]), 2, "missing_vector"),
    "no vectors": (entries(), 0, "missing_vector"),
    "more vectors": (entries([1], [2], [3], [4]), 0, "missing_vector"),
    "fewer vectors without numbers": (entries([1], [2], numbered=False), 2, "missing_vector"),
    "a number twice": (with_index((0, [1]), (0, [2]), (2, [3])), 1, "missing_vector"),
    "the same number for all": (with_index((0, [1]), (0, [2]), (0, [3])), 1, "missing_vector"),
    "a number beyond": (with_index((0, [1]), (1, [2]), (3, [3])), 2, "missing_vector"),
    "a number for some": (with_index((0, [1]), (None, [2]), (2, [3])), 1, "missing_vector"),
    "null": (entries([1], None, [3]), 1, "bad_vector"),
    "null within": (entries([1], [None], [3]), 1, "bad_vector"),
    "a text": (entries([1], ["2"], [3]), 1, "bad_vector"),
    "an empty vector": (entries([1], [2], []), 2, "bad_vector"),
    "another length": (entries([1, 2], [1], [1, 2]), 1, "other_dimensions"),
    "NaN": (
        Answer(b'{"data":[{"index":0,"embedding":[1]},{"index":1,"embedding":[NaN]},{"index":2,"embedding":[1]}]}'),
        1,
        "bad_vector",
    ),
    "out of range": (Answer(b'{"data":[{"embedding":[1]},{"embedding":[1]},{"embedding":[1e400]}]}'), 2, "bad_vector"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_reply_whose_vectors_are_not_those_of_the_texts_names_the_input(
    sidecar: Program, services: Services, name: str
) -> None:
    reply, number, reason = WRONG[name]
    services.answer("POST *", reply)
    lines = ask(sidecar, texts(3))
    error = lines[-1]["error"]
    assert (error["code"], error["param"], error["reason"]) == ("provider_error", f"params.inputs[{number}]", reason)
    assert not error["retryable"]
    assert len(services.asked()) == 1
    # What is delivered is right, and before the input that is named.
    assert all(at < number for at in delivered(lines))
    assert error.get("next_offset", 0) == len(delivered(lines))


def test_a_length_that_was_asked_for_and_ignored_is_an_error(sidecar: Program, services: Services) -> None:
    services.answer("POST *", entries([1, 2], [3, 4]))
    error = ask(sidecar, texts(2), dimensions=1)[-1]["error"]
    assert (error["reason"], error["param"]) == ("other_dimensions", "params.inputs[0]")
    assert "dimensions" in error["hint"]


def test_what_is_no_document_of_vectors_is_an_error(sidecar: Program, services: Services) -> None:
    services.answer("POST *", Answer(b"<html>"))
    assert ask(sidecar, texts(2))[-1]["error"]["code"] == "provider_error"


# --- lines -----------------------------------------------------------------------------------


def long_answer(seen: Seen) -> Answer:
    made = [{"index": at, "embedding": [0.123456789] * 1536} for at, _ in enumerate(seen.json["input"])]
    return document({"data": made, "usage": {"prompt_tokens": 1, "total_tokens": 1}})


def test_lines_stay_short(sidecar: Program, services: Services) -> None:
    services.answer("POST *", long_answer)
    lines = ask(sidecar, texts(20))
    assert sorted(delivered(lines)) == list(range(20))
    assert max(len(json.dumps(line, separators=(",", ":"))) for line in lines) < 64 * 1024
    assert len(lines) == 11


def test_lines_are_no_longer_than_the_host_can_read(sidecar: Program, services: Services) -> None:
    services.answer("POST *", long_answer)
    sidecar.ask("initialize", {"max_line_bytes": 20_000})
    lines = ask(sidecar, texts(3))
    assert [line["count"] for line in lines[:-1]] == [1, 1, 1]
    sidecar.ask("initialize", {"max_line_bytes": 16_384})
    error = ask(sidecar, texts(3))[-1]["error"]
    assert (error["code"], error["reason"]) == ("invalid_request", "reply_too_long")
    assert sorted(delivered(ask(sidecar, texts(3), encoding="f32_base64"))) == [0, 1, 2]


def test_each_attempt_has_a_row_in_the_ledger(sidecar: Program, services: Services) -> None:
    services.answer("POST *", document({"error": {"message": "busy"}}, 503), answer)
    ask(sidecar, texts(3))
    report = sidecar.ask("usage_report", {"by": ["kind", "action", "outcome"]})["data"]
    rows = {(row["group"]["kind"], row["group"]["outcome"]): row for row in report["rows"]}
    assert {key: row["requests"] for key, row in rows.items()} == {("embed", "ok"): 1, ("embed", "failed"): 1}
    assert rows["embed", "ok"]["input_tokens"] == 3
    assert rows["embed", "ok"]["cost_usd"] == "0.00000006"


def test_a_recorded_exchange_is_replayed(sidecar: Program) -> None:
    params = {"model": "embeddings/usual_text", "inputs": ["def f(): ...", "class A: ..."]}
    lines = collect(sidecar, params, "replay")
    assert len(delivered(lines)) == 2
    assert lines[-1]["cost"]["usd"] == "0"
    (unknown,) = collect(sidecar, params | {"model": "embeddings/usual_none"}, "replay")
    assert unknown["error"]["code"] == "model_not_found"


def test_a_provider_without_embeddings_says_who_has_them(sidecar: Program) -> None:
    (line,) = collect(sidecar, {"model": "claude", "inputs": ["a"]}, "anthropic")
    assert (line["error"]["reason"], line["error"]["param"]) == ("no_embeddings", "params.model")
    assert "openai" in line["error"]["hint"]


def test_a_server_of_the_users_own_is_asked_as_its_table_says(services: Services, tmp_path: Path) -> None:
    config = """
[providers.plain]
wire = "none"
base_url = "https://plain.example/v1"
[providers.lab]
wire = "none"
base_url = "https://lab.example"
embeddings.path = "/vectors"
embeddings.max_inputs = 2
embeddings.dimensions_field = "size"
embeddings.purpose_field = "kind"
embeddings.purposes = { query = "q" }
"""
    with online(services, tmp_path, config) as sidecar:
        params = {"model": "m", "inputs": texts(3), "dimensions": 2, "purpose": "query"}
        assert sorted(delivered(collect(sidecar, params, "lab"))) == [0, 1, 2]
        assert {seen.url for seen in services.asked()} == {"https://lab.example/vectors"}
        sent = [(len(seen.json["input"]), seen.json["size"], seen.json["kind"]) for seen in services.asked()]
        assert sorted(sent) == [(1, 2, "q"), (2, 2, "q")]
        services.forget()
        services.answer("POST *", answer)
        lines = collect(sidecar, params, "plain")
        assert services.only().url == "https://plain.example/v1/embeddings"
        assert [warning["param"] for warning in lines[-1]["warnings"]] == ["params.purpose"]
        assert lines[-1]["cost"] == {"usd": None, "reason": "model_unknown"}


def test_a_budget_that_is_used_up_ends_the_request_where_it_is(services: Services, tmp_path: Path) -> None:
    # A batch of 113 texts of 9 tokens costs 0.00002 dollars.
    config = "[budgets]\nday_usd = 0.00005\n"
    with online(services, tmp_path, config, OPENAI_API_KEY=KEY) as sidecar:
        lines = ask(sidecar, [f"{number} {'x' * 30}" for number in range(2000)])
        error = lines[-1]["error"]
    assert (error["code"], error["reason"]) == ("quota_exceeded", "budget_day")
    assert 0 < error["next_offset"] == len(delivered(lines)) < 2000
