"""`list_models` for all providers together, and lists in pages for hosts whose reader has a limit."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.fake_services import Answer, Services, document
from tests.support.in_process import online
from tests.support.lines import Line, Object
from tests.support.program import Program

pytestmark = pytest.mark.long

LIMIT = 16384
KEYS = {"OPENAI_API_KEY": "CANARY-openai", "DEEPSEEK_API_KEY": "CANARY-deepseek"}
MANY = [f"model-{number:04}-{'x' * 40}" for number in range(1500)]


def listing(*names: str) -> Any:
    return document({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})


def read_lists(sidecar: Program, params: Object | None = None) -> list[Object]:
    lines = sidecar.stream(sidecar.send("list_models", params))
    assert all(line.data["streaming"] for line in lines)
    return [line.data["data"] for line in lines]


def size_of(line: Line) -> int:
    return len(msgspec.json.encode(line.data)) + 1


def test_every_provider_that_is_ready_is_asked_and_a_failure_is_told_within(services: Services, tmp_path: Path) -> None:
    services.answer("*", document({"error": {"message": "down"}}, 400))
    services.answer("GET https://api.openai.com/*", listing("gpt-6"))
    services.answer("GET https://api.deepseek.com/*", document({"error": {"message": "No."}}, 401))
    with online(services, tmp_path, **KEYS) as sidecar:
        ready = {each["id"] for each in sidecar.ask("list_providers")["data"]["providers"] if each["ready"]}
        *chunks, done = read_lists(sidecar)
    assert ready >= {"openai", "deepseek", "replay"}
    failures = {each["provider"]: each["error"] for each in chunks if each["type"] == "models_failed"}
    lists = {each["provider"]: each for each in chunks if each["type"] == "models"}
    assert {*failures, *lists} == ready
    assert (failures["deepseek"]["code"], failures["deepseek"]["provider"]) == ("auth_failed", "deepseek")
    assert "gpt-6" in [model["id"] for model in lists["openai"]["models"]]
    assert [each["provider"] for each in done["lists"]] == sorted(ready)
    summaries = {each["provider"]: each for each in done["lists"]}
    assert summaries["deepseek"] == {"provider": "deepseek", "count": 0, "code": "auth_failed"}
    assert done["count"] == sum(each["count"] for each in done["lists"])


def test_a_list_does_not_wait_for_the_slower_ones(services: Services, tmp_path: Path) -> None:
    services.answer("*", document({"error": {"message": "down"}}, 400))
    services.answer("GET https://api.deepseek.com/*", Answer(stalls=True))
    services.answer("GET https://api.openai.com/*", listing("gpt-6"))
    with online(services, tmp_path, **KEYS) as sidecar:
        *lines, last = sidecar.stream(sidecar.send("list_models", timeout=5000))
    assert last.data["error"]["code"] == "timeout"
    assert {line.data["data"]["provider"] for line in lines} == {"ollama", "openai", "replay"}


@pytest.mark.parametrize("param", ["api_key", "base_url", "settings", "offset"])
def test_what_belongs_to_one_provider_needs_its_name(sidecar: Program, param: str) -> None:
    values = {"api_key": "k", "base_url": "https://x.test", "settings": {"region": "r"}, "offset": 1}
    error = sidecar.ask("list_models", {param: values[param]})["error"]
    assert (error["code"], error["param"]) == ("invalid_request", f"params.{param}")


def test_what_is_empty_belongs_to_nobody(services: Services, tmp_path: Path) -> None:
    services.answer("*", document({"error": {"message": "down"}}, 400))
    with online(services, tmp_path) as sidecar:
        assert sidecar.ask("list_models", {"settings": [], "api_key": None, "offset": None})["success"]


def test_all_lists_end_when_the_request_is_cancelled(services: Services, tmp_path: Path) -> None:
    with online(services, tmp_path, **KEYS) as sidecar:
        asked = sidecar.send("list_models")
        assert sidecar.ask("cancel", {"id": asked})["data"]["found"]
        assert sidecar.reply(asked)["error"]["code"] == "cancelled"


@pytest.mark.parametrize(("limit", "longest"), [(None, 65536), (LIMIT, LIMIT)])
def test_a_long_list_comes_in_parts(services: Services, tmp_path: Path, limit: int | None, longest: int) -> None:
    services.answer("*", document({"error": {"message": "down"}}, 400))
    services.answer("GET https://api.openai.com/*", listing(*MANY))
    with online(services, tmp_path, **KEYS) as sidecar:
        sidecar.ask("initialize", {"max_line_bytes": limit})
        lines = sidecar.stream(sidecar.send("list_models"))
    parts = [line.data["data"] for line in lines[:-1] if line.data["data"]["provider"] == "openai"]
    assert max(map(size_of, lines)) <= longest
    assert [model["id"] for part in parts for model in part["models"]] == MANY
    assert [part.get("more", False) for part in parts] == [True] * (len(parts) - 1) + [False]


def test_the_list_of_one_provider_comes_in_pages(services: Services, tmp_path: Path) -> None:
    services.answer("GET https://api.openai.com/*", listing(*MANY))
    found, offset, pages = list[str](), 0, 0
    with online(services, tmp_path, **KEYS) as sidecar:
        sidecar.ask("initialize", {"max_line_bytes": LIMIT})
        while pages == 0 or offset:
            (line,) = sidecar.stream(sidecar.send("list_models", {"offset": offset}, provider="openai"))
            assert size_of(line) <= LIMIT
            found += [model["id"] for model in line.data["data"]["models"]]
            offset, pages = line.data["data"].get("next_offset", 0), pages + 1
    assert pages > 2
    assert found == MANY
    assert len(services.asked()) == 1


def test_providers_come_in_pages_too(sidecar: Program) -> None:
    whole = [each["id"] for each in sidecar.ask("list_providers")["data"]["providers"]]
    assert [each["id"] for each in sidecar.ask("list_providers", {"offset": 3})["data"]["providers"]] == whole[3:]
    assert sidecar.ask("list_providers", {"offset": 1000})["data"] == {"providers": []}
