"""The ways to ask: what is sent, what follows a refusal, and what a chat's answer becomes."""

import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.completion.chat_prompt import TagReader
from sidecar.completion.cuts import Place
from tests.support.fake_services import Answer, Seen, Services, document
from tests.support.in_process import online

PREFIX, SUFFIX = "def area(r):\n    return ", "\n\nprint(area(2))\n"
SSE = {"content-type": "text/event-stream"}


def texts(*pieces: str) -> Answer:
    """Return a stream of `choices` with these texts."""
    events = [{"choices": [{"index": 0, "text": piece}]} for piece in pieces]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    return Answer(f"{body}data: [DONE]\n\n".encode(), headers=SSE)


def chat(*pieces: str) -> Answer:
    """Return the stream of a chat's answer."""
    events: list[Any] = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    return Answer(f"{body}data: [DONE]\n\n".encode(), headers=SSE)


def own(base_url: str = "https://own.example/v1", completion: str = "") -> str:
    """Return the configuration of a server of unknown make."""
    return f'[providers.own]\nwire = "openai_chat"\nbase_url = "{base_url}"\n{completion}'


def params(model: str, **options: Any) -> dict[str, Any]:
    return {"model": model, "prefix": PREFIX, "suffix": SUFFIX, "options": options}


def paths(services: Services) -> list[str]:
    return [seen.path for seen in services.asked()]


def test_a_model_with_tokens_of_its_own_is_asked_with_them(services: Services, tmp_path: Path) -> None:
    services.answer("POST *", texts("PI * r", " * r<|endoftext|>junk"))
    with online(services, tmp_path, own()) as program:
        data = program.ask("complete", params("Qwen/Qwen2.5-Coder-7B", lines="many"), provider="own")["data"]
    assert (data["method"], data["items"][0]["text"], data["items"][0]["cut_by"]) == ("template", "PI * r * r", "token")
    asked = services.only().json
    assert asked["prompt"] == f"<|fim_prefix|>{PREFIX}<|fim_suffix|>{SUFFIX}<|fim_middle|>"
    assert "suffix" not in asked
    assert asked["stop"] == ["<|endoftext|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]


REFUSALS = {
    "vLLM": document({"error": {"message": "suffix is not currently supported", "code": 400}}, 400),
    "llama.cpp": document({"error": {"code": 500, "message": "Unsupported param: suffix"}}, 500),
    "a server without the path": document({"detail": "Not Found"}, 404),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_refused_way_is_not_tried_again(services: Services, tmp_path: Path, refusal: Answer) -> None:
    services.answer("POST *", chat("<COMPLETION>PI * r", " * r</COMPLETION>"))
    services.answer("POST */v1/completions", refusal)
    with online(services, tmp_path, own(), SIDECAR_MAX_ATTEMPTS="1") as program:
        for _ in range(2):
            data = program.ask("complete", params("my-model"), provider="own")["data"]
            assert (data["method"], data["items"][0]["text"]) == ("chat", "PI * r * r")
    assert paths(services) == ["/v1/completions", *["/v1/chat/completions"] * 2]


def test_ollama_is_asked_with_tokens_where_its_template_has_no_place(services: Services, tmp_path: Path) -> None:
    def answer(seen: Seen) -> Answer:
        if not seen.json.get("raw"):
            return document({"error": "registry.ollama.ai/library/qwen3-coder:30b does not support insert"}, 400)
        line = {"model": "qwen3-coder:30b", "response": "PI * r * r", "done": True, "done_reason": "stop"}
        return Answer(json.dumps(line).encode() + b"\n", headers={"content-type": "application/x-ndjson"})

    services.answer("POST *", answer)
    with online(services, tmp_path, '[providers.ollama]\nbase_url = "https://ollama.example"\n') as program:
        data = program.ask("complete", params("qwen3-coder:30b"), provider="ollama")["data"]
    assert (data["method"], data["items"][0]["text"]) == ("template", "PI * r * r")
    first, second = (seen.json for seen in services.asked())
    assert (first["suffix"], first["think"]) == (SUFFIX, False)
    assert second["prompt"].startswith("<|fim_prefix|>")


ADDRESSES = {
    "its own": ("", "https://api.deepseek.com/beta/completions"),
    "with the beta": ("https://api.deepseek.com/beta", "https://api.deepseek.com/beta/completions"),
    "with a version": ("https://api.deepseek.com/v1", "https://api.deepseek.com/beta/completions"),
}


@pytest.mark.parametrize(("base_url", "url"), ADDRESSES.values(), ids=ADDRESSES)
def test_an_endpoint_of_the_beta_is_found_from_any_address(
    services: Services, tmp_path: Path, base_url: str, url: str
) -> None:
    services.answer("POST *", texts("PI"))
    config = f'[providers.deepseek]\nbase_url = "{base_url}"\napi_key = "CANARY-own"\n' if base_url else ""
    with online(services, tmp_path, config, DEEPSEEK_API_KEY="CANARY-deepseek") as program:
        assert program.ask("complete", params("deepseek-v4-flash"), provider="deepseek")["success"]
    assert services.only().url == url


def test_a_chat_is_asked_without_reasoning_and_its_prose_is_dropped(services: Services, tmp_path: Path) -> None:
    message = {"id": "m", "model": "claude", "usage": {"input_tokens": 9, "output_tokens": 1}}
    pieces = ("Sure!\n<COMPLETION>PI * ", "r * r</COMPLE")
    deltas = [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": x}} for x in pieces]
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *deltas,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "stop_sequence"}, "usage": {"output_tokens": 12}},
        {"type": "message_stop"},
    ]
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    services.answer("POST *", Answer(body.encode(), headers=SSE))
    with online(services, tmp_path, ANTHROPIC_API_KEY="CANARY-anthropic") as program:
        data = program.ask("complete", params("claude-haiku-4-5"), provider="anthropic")["data"]
    assert (data["method"], data["items"][0]["text"]) == ("chat", "PI * r * r")
    asked = services.only().json
    assert asked["stop_sequences"] == ["</COMPLETION>"]
    assert f"{PREFIX}<CURSOR/>{SUFFIX}" in json.dumps(asked["messages"]).encode().decode("unicode_escape")
    assert asked.get("thinking", {"type": "disabled"})["type"] == "disabled"


TAGS = {
    "a tag": (["<COMPLETION>x</COMPLETION>"], "x"),
    "a tag in pieces": (["<COMP", "LETION>", "x", "y</COM", "PLETION> bye"], "xy"),
    "a tag on a line of its own": (["<COMPLETION>\nx"], "x"),
    "no tag": (["I cannot help with that."], ""),
    "what looks like the end": (["<COMPLETION>a </b", "> c"], "a </b> c"),
}


@pytest.mark.parametrize(("pieces", "text"), TAGS.values(), ids=TAGS)
def test_the_text_inside_of_the_tag_is_the_answer(pieces: list[str], text: str) -> None:
    reader = TagReader(Place(prefix=PREFIX, suffix=SUFFIX))
    assert "".join(reader.feed(piece) for piece in pieces) == text


def test_several_items_come_in_the_providers_order(services: Services, tmp_path: Path) -> None:
    events = [{"choices": [{"index": at, "text": f"text {at}", "finish_reason": "stop"}]} for at in (1, 0, 2)]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    services.answer("POST *", Answer(f"{body}data: [DONE]\n\n".encode(), headers=SSE))
    with online(services, tmp_path, own()) as program:
        data = program.ask("complete", params("my-model", n=3), provider="own")["data"]
    assert [item["text"] for item in data["items"]] == ["text 0", "text 1", "text 2"]
    assert services.only().json["n"] == 3


def test_a_provider_of_one_item_says_that_it_gives_one(services: Services, tmp_path: Path) -> None:
    services.answer("POST *", texts("PI"))
    with online(services, tmp_path, MISTRAL_API_KEY="CANARY-mistral") as program:
        data = program.ask("complete", params("codestral-latest", n=3), provider="mistral")["data"]
    assert len(data["items"]) == 1
    assert [(each["code"], each["param"]) for each in data["warnings"]] == [("option_left_out", "params.options.n")]
    assert "n" not in services.only().json


def test_other_files_come_first_in_the_form_of_the_model(services: Services, tmp_path: Path) -> None:
    services.answer("POST *", texts("PI"))
    context = [{"path": "consts.py", "text": "PI = 3.14159\n"}]
    asked = params("codestral-latest") | {"path": "geo.py", "context": context}
    with online(services, tmp_path, MISTRAL_API_KEY="CANARY-mistral") as program:
        assert program.ask("complete", asked, provider="mistral")["success"]
    assert services.only().json["prompt"] == f"+++++ consts.py \nPI = 3.14159\n\n\n+++++ geo.py \n{PREFIX}"


def test_llama_cpp_is_given_the_two_sides_and_a_time_limit(services: Services, tmp_path: Path) -> None:
    events = [{"content": "PI * r"}, {"content": " * r", "stop": True, "stop_type": "eos", "tokens_predicted": 6}]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    services.answer("POST *", Answer(body.encode(), headers=SSE))
    completion = 'completion = { wire = "llamacpp_infill", replaces = ["/v1"], methods = ["fim"] }\n'
    asked = params("local", budget_ms=900) | {"context": [{"path": "a.py", "text": "A"}]}
    with online(services, tmp_path, own("https://llama.example/v1", completion)) as program:
        data = program.ask("complete", asked, provider="own")["data"]
    assert data["items"][0]["text"] == "PI * r * r"
    seen = services.only()
    assert seen.url == "https://llama.example/infill"
    assert seen.json["input_extra"] == [{"filename": "a.py", "text": "A"}]
    assert (seen.json["input_prefix"], seen.json["t_max_predict_ms"]) == (PREFIX, 900)


def test_copilot_is_asked_where_its_session_has_completions(services: Services, tmp_path: Path) -> None:
    services.answer("POST *", texts("", "PI"))
    with online(services, tmp_path, COPILOT_GITHUB_TOKEN="gho_CANARY-copilot") as program:
        data = program.ask("complete", params("gpt-41-copilot"), provider="copilot")["data"]
    assert data["items"][0]["text"] == "PI"
    seen = services.asked("POST *completions*")[0]
    assert seen.url == "https://proxy.githubcopilot.com/v1/engines/gpt-41-copilot/completions"
    assert seen.headers["openai-intent"] == "copilot-ghost"
