"""How providers make vectors, by model."""

from typing import get_args

from protocol.embeddings import Purpose
from sidecar.catalogue.embedding_columns import EmbeddingRow, find_embedding_row
from sidecar.catalogue.provider_rows import read_providers


def test_the_first_row_that_matches_a_model_is_its_row() -> None:
    rows = [EmbeddingRow(models=("*titan*",), max_inputs=1), EmbeddingRow(max_inputs=96)]
    found = [find_embedding_row(rows, model) for model in ("amazon.titan-embed-text-v2:0", "cohere.embed-v4:0")]
    assert [row and row.max_inputs for row in found] == [1, 96]


def test_a_setting_may_select_a_row() -> None:
    rows = [EmbeddingRow(when={"api_version": "[0-9]*"}, path="/old"), EmbeddingRow()]
    found = [find_embedding_row(rows, "m", settings) for settings in ({"api_version": "2024-10-21"}, {}, {"x": "1"})]
    assert [row and row.path for row in found] == ["/old", None, None]


def test_a_provider_without_rows_makes_no_vectors() -> None:
    assert find_embedding_row(read_providers()["anthropic"].embeddings, "claude-fable-5") is None


def test_no_request_may_be_empty() -> None:
    rows = [row for provider in read_providers().values() for row in provider.embeddings]
    assert rows
    assert all(row.max_inputs > 0 and row.max_batch_tokens != 0 for row in rows)


def test_a_text_for_a_purpose_has_a_place_for_the_input() -> None:
    rows = [row for provider in read_providers().values() for row in provider.embeddings]
    assert all("{text}" in text for row in rows for text in row.purpose_texts.values())
    assert all(set(row.purposes) <= set(get_args(Purpose)) for row in rows)
