"""llama.cpp's own server with a tiny model, asked over each of the three wires that it speaks."""

import json
import os
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.running import Object, ask, chat, free_port, running
from tests.servers.tiny_model import CONTEXT_TOKENS, write_model
from tests.support.environment import environment
from tests.support.process import Sidecar
from tests.support.program import write_home

KEY = "sk-CANARY-of-the-server"
SLOT_SECONDS = 5.0

WIRES = {"openai_chat": "/v1", "openai_responses": "/v1", "anthropic_messages": ""}
"""Wire → what follows the origin in its base address."""

BY_WIRE = pytest.mark.parametrize("wire", WIRES)

TOOL = {
    "name": "now",
    "description": "The time.",
    "parameters": {"type": "object", "properties": {"utc": {"type": "boolean"}}, "required": ["utc"]},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("llama"), free_port()
    built = Path(os.environ["SIDECAR_SERVERS"]) / "llama"
    if not (built / "bin/llama-server").exists():
        pytest.skip("llama.cpp's server could not be built here")
    write_model(folder / "tiny.gguf")
    command = [
        str(built / "bin/llama-server"),
        "--model",
        "tiny.gguf",
        "--alias",
        "tiny",
        "--ctx-size",
        str(CONTEXT_TOKENS),
        "--parallel",
        "1",
    ]
    command += ["--chat-template-file", str(built / "chat.jinja")]
    command += ["--host", "127.0.0.1", "--port", str(port), "--api-key", KEY, "--no-warmup"]
    with running(command, port, folder):
        yield f"http://127.0.0.1:{port}"


def configure(server: str, key: str = KEY) -> str:
    """Return the configuration with a provider for each wire, called after it."""
    tables = (
        f'[providers.{wire}-lab]\nwire = "{wire}"\nbase_url = "{server}{base}"\napi_key = "{key}"\n'
        for wire, base in WIRES.items()
    )
    return "\n".join(tables)


def get(server: str, path: str) -> list[Object]:
    request = urllib.request.Request(server + path, headers={"authorization": f"Bearer {KEY}"})  # noqa: S310 - ours
    with urllib.request.urlopen(request, timeout=20) as reply:  # noqa: S310 - ours
        found: list[Object] = json.load(reply)
    return found


@BY_WIRE
def test_a_chat_streams_and_counts(server: str, tmp_path: Path, wire: str) -> None:
    lab = f"{wire}-lab"
    requests = [chat(1, "tiny", lab, action="stream_chat", max_tokens=12), chat(2, "tiny", lab, max_tokens=12)]
    ends = ask(tmp_path, requests, configure(server))
    (part,) = ends[1]["data"]["message"]["content"]
    assert (part["type"], len(part["text"]) >= 6) == ("text", True)
    for end in ends.values():
        usage = end["data"]["usage"]
        assert (usage["output_tokens"], usage["input_tokens"] > 10) == (12, True)
        assert end["data"]["timings"]["total_ms"] >= end["data"]["timings"]["first_chunk_ms"] > 0
        assert (end["data"]["model"], end["data"].get("warnings")) == ("tiny", [])
        # Over Responses the server calls an answer complete that it has cut.
        assert end["data"]["finish_reason"] == ("stop" if wire == "openai_responses" else "length")


@BY_WIRE
def test_the_same_seed_gives_the_same_answer_and_a_text_stops_it(server: str, tmp_path: Path, wire: str) -> None:
    lab = f"{wire}-lab"
    whole = ask(tmp_path, [chat(1, "tiny", lab, temperature=0, max_tokens=16)], configure(server))[1]["data"]
    # The Responses API has no such option.
    stop = whole["content"][8]
    end = ask(tmp_path, [chat(1, "tiny", lab, temperature=0, max_tokens=16, stop=[stop])], configure(server))[1]["data"]
    if wire == "openai_responses":
        assert (end["content"], end["warnings"][0]["code"]) == (whole["content"], "option_left_out")
    else:
        assert (end["content"], end["finish_reason"]) == (whole["content"].partition(stop)[0], "stop")


@BY_WIRE
def test_a_cancel_frees_the_slot_of_the_server(server: str, tmp_path: Path, wire: str) -> None:
    home, arguments = write_home(tmp_path, configure(server))
    with Sidecar(home, arguments=arguments, env=environment(home)) as sidecar:
        asked = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "options": {"max_tokens": 16_000}}
        chat_id = sidecar.send("stream_chat", asked, provider=f"{wire}-lab")
        assert sidecar.chunk(chat_id, 3).data["data"]["type"] == "content"
        assert get(server, "/slots")[0]["is_processing"] is True
        assert sidecar.ask("cancel", {"id": chat_id})["data"]["found"] is True
        assert sidecar.stream(chat_id)[-1].code == "cancelled"
        end = time.monotonic() + SLOT_SECONDS
        while get(server, "/slots")[0]["is_processing"]:
            assert time.monotonic() < end
        assert sidecar.ask("generate", asked | {"options": {"max_tokens": 2}}, provider=f"{wire}-lab")["success"]


@BY_WIRE
def test_a_prompt_that_is_too_long_is_told_at_once(server: str, tmp_path: Path, wire: str) -> None:
    messages = [{"role": "user", "content": "x" * (2 * CONTEXT_TOKENS)}]
    request = {
        "id": 1,
        "action": "generate",
        "provider": f"{wire}-lab",
        "params": {"model": "tiny", "messages": messages},
    }
    error = ask(tmp_path, [request], configure(server))[1]["error"]
    assert (error["code"], error["attempts"], error["provider_status"]) == ("context_length_exceeded", 1, 400)
    assert error["provider_code"] == "exceed_context_size_error"


@BY_WIRE
def test_a_wrong_key_is_refused_and_never_shown(server: str, tmp_path: Path, wire: str) -> None:
    ends = ask(tmp_path, [chat(1, "tiny", f"{wire}-lab")], configure(server, "sk-CANARY-wrong"))
    assert (ends[1]["error"]["code"], ends[1]["error"]["provider_status"]) == ("auth_failed", 401)
    assert "CANARY" not in str(ends)


@BY_WIRE
def test_the_server_answers_whatever_model_is_named(server: str, tmp_path: Path, wire: str) -> None:
    end = ask(tmp_path, [chat(1, "no-such-model", f"{wire}-lab", max_tokens=2)], configure(server))[1]["data"]
    # What has answered is told.
    assert (end["model"], end["attempts"][0]["model"]) == ("tiny", "no-such-model")


@BY_WIRE
def test_a_tool_that_must_be_called_is_called_once(server: str, tmp_path: Path, wire: str) -> None:
    asked: Object = {"tools": [TOOL], "tool_choice": "required", "temperature": 0, "max_tokens": 400}
    requests = [chat(1, "tiny", f"{wire}-lab", **asked), chat(2, "tiny", f"{wire}-lab", action="stream_chat", **asked)]
    ends = ask(tmp_path, requests, configure(server))
    (call,) = ends[1]["data"]["tool_calls"]
    assert (call["name"], list(call["arguments"])) == ("now", ["utc"])
    (streamed,) = [each for each in ends[2]["data"]["message"]["content"] if each["type"] == "tool_call"]
    assert streamed["arguments"] == call["arguments"] == json.loads(call["arguments_text"])
    assert {end["data"]["finish_reason"] for end in ends.values()} == {"tool_calls"}


@BY_WIRE
def test_what_the_server_cannot_parse_is_its_error(server: str, tmp_path: Path, wire: str) -> None:
    # What the random model writes looks like a call now and then, which the server then cannot read.
    requests = [chat(number, "tiny", f"{wire}-lab", tools=[TOOL], max_tokens=60) for number in range(12)]
    ends = ask(tmp_path, requests, configure(server), SIDECAR_MAX_ATTEMPTS="1")
    errors = [end["error"] for end in ends.values() if not end["success"]]
    assert errors
    for error in errors:
        assert (error["code"], error["provider_code"]) == ("provider_error", "server_error")
        assert "format" in error["message"]


@BY_WIRE
def test_its_model_is_listed_with_its_context_and_the_key_is_good(server: str, tmp_path: Path, wire: str) -> None:
    requests: list[Object] = [
        {"id": 1, "action": "list_models", "provider": f"{wire}-lab"},
        {"id": 2, "action": "authenticate", "provider": f"{wire}-lab", "params": {"op": "validate"}},
    ]
    ends = ask(tmp_path, requests, configure(server))
    (model,) = ends[1]["data"]["models"]
    assert (model["id"], model["context_length"]) == ("tiny", CONTEXT_TOKENS)
    assert ends[2]["data"]["valid"] is True


@BY_WIRE
def test_the_server_counts_over_the_wires_that_have_a_count(server: str, tmp_path: Path, wire: str) -> None:
    params = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "exact": True}
    requests = [
        {"id": 1, "action": "count_tokens", "provider": f"{wire}-lab", "params": params},
        chat(2, "tiny", f"{wire}-lab", max_tokens=2),
    ]
    ends = ask(tmp_path, requests, configure(server))
    counted = ends[1]["data"]
    assert counted["exact"] is (wire != "openai_chat")
    if counted["exact"]:
        assert counted["tokens"] == ends[2]["data"]["usage"]["input_tokens"]
