"""What is asked of a provider that ranks documents."""

import pytest

from protocol.rerank import Rerank
from sidecar.catalogue.rerank_columns import RerankRow, find_rerank_row
from sidecar.core.errors import SidecarError
from sidecar.retrieval.rerank_question import estimate_tokens, make_question


def asked(**changes: object) -> Rerank:
    params: dict[str, object] = {"model": "m", "query": "q", "documents": ["a", "b", "c"]} | changes
    return Rerank(**params)  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize(("top", "wanted"), [(None, 3), (2, 2), (3, 3), (7, 3)])
def test_no_more_is_wanted_than_there_is(top: int | None, wanted: int) -> None:
    question = make_question(asked(top=top), RerankRow())
    assert question.wanted == wanted
    assert (question.top is None) == (top is None)


@pytest.mark.parametrize(
    ("params", "row", "param"),
    [
        (asked(), RerankRow(max_documents=2), "params.documents"),
        (asked(documents=["a", "bb"]), RerankRow(max_document_chars=1), "params.documents[1]"),
        (asked(documents=["a", "\t"]), RerankRow(), "params.documents[1]"),
        (asked(query=" "), RerankRow(), "params.query"),
    ],
)
def test_what_cannot_be_ranked_is_named(params: Rerank, row: RerankRow, param: str) -> None:
    with pytest.raises(SidecarError) as raised:
        make_question(params, row)
    assert (raised.value.body.code, raised.value.body.param) == ("invalid_request", param)


def test_the_query_is_billed_with_each_document() -> None:
    assert estimate_tokens(make_question(asked(query="q" * 40, documents=["d" * 60] * 2), RerankRow())) == 50


def test_the_first_row_that_matches_a_model_counts() -> None:
    rows = (RerankRow(models=("a.*",), path="/a"), RerankRow(models=("b", "c"), path="/b"))
    found = [find_rerank_row(rows, model) for model in ("a.1", "c", "d")]
    assert [row and row.path for row in found] == ["/a", "/b", None]
