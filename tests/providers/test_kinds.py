"""For what providers and models can be asked, and what is said to whoever asks for something else."""

from pathlib import Path

import pytest

from sidecar.catalogue.provider_rows import NO_CHAT, read_providers
from sidecar.providers.kinds import list_kinds
from tests.support.fake_services import Services, document
from tests.support.in_process import online
from tests.support.program import Program
from tests.support.provider_rows import ROWS, params

SILENT = [name for name, row in read_providers().items() if row.wire == NO_CHAT]
"""The providers without a chat."""


def test_some_providers_have_no_chat() -> None:
    assert {*SILENT} >= {"voyage", "jina"}


@pytest.mark.parametrize("name", SILENT)
def test_a_provider_without_a_chat_says_so_before_anything_is_sent(
    keyed: Program, services: Services, name: str
) -> None:
    error = keyed.ask("generate", params(), provider=name)["error"]
    assert (error["code"], error["param"], error["reason"]) == ("invalid_request", "params.model", "no_chat")
    assert f"{read_providers()[name].name} has no chat" in error["message"]
    assert not services.asked()


@pytest.mark.parametrize("name", SILENT)
def test_its_list_is_the_catalogue_and_says_what_each_model_is_for(
    keyed: Program, services: Services, name: str
) -> None:
    data = keyed.ask("list_models", provider=name)["data"]
    assert data["source"] == "built_in"
    assert {model["kind"] for model in data["models"]} == {"embedding", "rerank"}
    assert not services.asked()


def test_nothing_tests_a_key_of_such_a_provider(keyed: Program, services: Services) -> None:
    error = keyed.ask("authenticate", {"op": "validate"}, provider="voyage")["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "params.op")
    assert not services.asked()


def test_a_list_of_providers_says_for_what_each_can_be_asked(keyed: Program) -> None:
    listed = {each["id"]: each for each in keyed.ask("list_providers")["data"]["providers"]}
    assert all(("chat" in each["kinds"]) == (each["wire"] != NO_CHAT) for each in listed.values())
    assert listed["anthropic"]["kinds"] == ["chat"]
    assert "embedding" in listed["openai"]["kinds"]
    assert list_kinds(ROWS["openai"]) == listed["openai"]["kinds"]


def test_a_model_that_is_not_for_chats_is_not_asked_to_chat(keyed: Program, services: Services) -> None:
    chat = params() | {"model": "text-embedding-3-small"}
    error = keyed.ask("stream_chat", chat, provider="openai")["error"]
    assert (error["code"], error["reason"]) == ("invalid_request", "no_chat")
    assert "embeddings" in error["message"]
    assert "`embed`" in error["hint"]
    assert not services.asked()


def test_what_the_user_says_a_model_is_for_counts(services: Services, tmp_path: Path) -> None:
    config = (
        '[catalogue.openai."text-embedding-3-small"]\nkind = "chat"\n'
        '[catalogue.openai."my-vectors"]\nkind = "embedding"\ndimensions = [64, 32]\n'
    )
    services.answer("GET *", document({"data": [{"id": "text-embedding-3-small"}]}))
    with online(services, tmp_path, config, OPENAI_API_KEY="CANARY-openai") as sidecar:
        listed = sidecar.ask("list_models", provider="openai")["data"]["models"]
        assert [(each["id"], each["kind"]) for each in listed] == [
            ("text-embedding-3-small", "chat"),
            ("my-vectors", "embedding"),
        ]
        assert listed[1]["dimensions"] == [64, 32]
        error = sidecar.ask("generate", params() | {"model": "my-vectors"}, provider="openai")["error"]
        assert error["reason"] == "no_chat"


def test_a_route_leaves_such_models_out(keyed: Program, services: Services) -> None:
    models = ["openai/text-embedding-3-small", "voyage/voyage-4", "voyage/nobody-knows"]
    chat = params() | {"model": "auto", "options": {"route": {"models": models}}}
    error = keyed.ask("generate", chat)["error"]
    assert [(each["model"], each["reason"]) for each in error["route"]] == [(model, "no_chat") for model in models]
    assert not services.asked()


def test_only_chat_models_are_suggested_for_a_chat(keyed: Program, services: Services) -> None:
    services.answer("GET *", document({"data": [{"id": "text-embedding-3-small"}, {"id": "text-3-small"}]}))
    services.answer("POST *", document({"error": {"code": "model_not_found", "message": "No."}}, 404))
    keyed.ask("list_models", provider="openai")
    error = keyed.ask("generate", params() | {"model": "text-embedding-3-smal"}, provider="openai")["error"]
    assert error["hint"] == "Similar models: text-3-small."
    error = keyed.ask("generate", params() | {"model": "codestral-embedd"}, provider="mistral")["error"]
    assert "embed" not in (error["hint"] or "")
