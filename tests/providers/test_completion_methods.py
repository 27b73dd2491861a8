"""Which way a model is asked to complete, and what counts as a refusal of a way."""

from typing import Any

import pytest

from protocol.errors import ErrorBody
from sidecar.catalogue.provider_columns import AddressColumns, CompletionColumns
from sidecar.catalogue.provider_rows import NO_CHAT, ProviderRow, read_providers
from sidecar.core.errors import SidecarError
from sidecar.providers.completion_methods import choose_methods, is_refusal, knows_completion

NONE = frozenset[str]()


def own_row(**columns: Any) -> ProviderRow:
    """Return the row of a server of unknown make."""
    completion = CompletionColumns(wire="openai_completions", methods=("template", "fim", "chat"), **columns)
    return ProviderRow(name="Own", wire="openai_chat", address=AddressColumns(base_url=""), completion=completion)


CASES = {
    "an endpoint of the provider's": ("mistral", "codestral-latest", ["fim", "chat"], True),
    "a model of chats there": ("mistral", "mistral-large-3", ["chat"], False),
    "a provider with none": ("anthropic", "claude-sonnet-5-5", ["chat"], None),
    "a model with a template": ("ollama", "qwen2.5-coder:7b", ["fim", "template", "chat"], True),
    "a model of its maker's alone": ("copilot", "gpt-41-copilot", ["fim", "chat"], True),
}


@pytest.mark.parametrize(("provider", "model", "methods", "known"), CASES.values(), ids=CASES)
def test_a_model_is_asked_in_the_ways_that_its_provider_has(
    provider: str, model: str, methods: list[str], known: bool | None
) -> None:
    row = read_providers()[provider]
    assert choose_methods(row, model, "auto", NONE) == methods
    assert knows_completion(row, model) is known


def test_a_server_of_unknown_make_is_asked_with_tokens_if_the_model_has_some() -> None:
    assert choose_methods(own_row(), "Qwen/Qwen2.5-Coder-7B", "auto", NONE) == ["template", "fim", "chat"]
    assert choose_methods(own_row(), "my-model", "auto", NONE) == ["fim", "chat"]
    assert knows_completion(own_row(), "my-model") is None


def test_a_way_that_was_refused_is_left_out_unless_it_is_asked_for() -> None:
    assert choose_methods(own_row(), "my-model", "auto", frozenset({"fim"})) == ["chat"]
    assert choose_methods(own_row(), "my-model", "fim", frozenset({"fim"})) == ["fim"]


def test_a_way_that_a_model_lacks_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(SidecarError) as failure:
        choose_methods(own_row(), "my-model", "template", NONE)
    assert failure.value.body.param == "params.options.method"
    assert "fim or chat" in failure.value.body.message


def test_a_provider_without_any_way_says_so() -> None:
    row = ProviderRow(name="Vectors", wire=NO_CHAT, address=AddressColumns(base_url=""))
    with pytest.raises(SidecarError) as failure:
        choose_methods(row, "m", "auto", NONE)
    assert (failure.value.body.code, failure.value.body.reason) == ("invalid_request", "no_completion")


REFUSALS = {
    "vLLM": (400, "suffix is not currently supported", True),
    "llama.cpp": (500, "Unsupported param: suffix", True),
    "llama.cpp's infill": (501, "Infill is not supported by this model: prefix token is missing.", True),
    "Ollama": (400, "registry.ollama.ai/library/yi-coder:latest does not support insert", True),
    "OpenAI": (400, "Unrecognized request argument supplied: suffix", True),
    "no such path": (404, "Not Found", True),
    "a key": (401, "Unauthorized", False),
    "a failure": (500, "Internal Server Error", False),
    "a limit": (429, "suffix", False),
}


@pytest.mark.parametrize(("status", "message", "refuses"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_of_a_way_is_told_from_other_failures(status: int, message: str, refuses: bool) -> None:
    body = ErrorBody(code="invalid_request", message=message, retryable=False, provider_status=status, partial=False)
    assert is_refusal(body) is refuses
