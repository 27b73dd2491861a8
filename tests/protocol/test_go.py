"""The types in Go: what is a pointer, what a union reads, how lines are aligned. `make clients` compiles them."""

from typing import Any

import pytest

from protocol.emitters import go
from protocol.emitters.types import (
    Constant,
    Enumeration,
    Field,
    ListOf,
    Mixed,
    Ref,
    Scalar,
    Struct,
    Table,
    Tagged,
    Type,
)


def field(name: str, type_: Type, *, required: bool = False, nullable: bool = False, default: Any = None) -> Field:
    """Return a field without a description."""
    return Field(name, type_, required, nullable, default, "")


def emit(*types: Struct | Enumeration | Tagged | Mixed) -> str:
    """Return the text for a protocol of these types."""
    return go.emit(Table(1, {each.name: each for each in types}, ()))


def struct(*fields: Field) -> Struct:
    """Return a struct with the name `Thing`."""
    return Struct("Thing", "A thing.", fields, None, sent=True, received=True, envelope=False)


WORD = Enumeration("Word", "A word.", ("models.dev", "two_words"), received=True)


@pytest.mark.parametrize(
    ("own", "line"),
    [
        (field("count", Scalar("integer"), required=True), '\tCount int64 `json:"count"`'),
        (field("count", Scalar("integer")), '\tCount *int64 `json:"count,omitempty"`'),
        (field("count", Scalar("integer"), required=True, nullable=True), '\tCount *int64 `json:"count"`'),
        (field("base_url", Scalar("string")), '\tBaseURL string `json:"base_url,omitempty"`'),
        (field("mark", Scalar("string"), default="x"), '\tMark *string `json:"mark,omitempty"`'),
        (field("mark", Scalar("string"), required=True, nullable=True), '\tMark *string `json:"mark"`'),
        (field("items", ListOf(Scalar("number"))), '\tItems []float64 `json:"items,omitempty"`'),
        (field("word", Ref("Word")), '\tWord Word `json:"word,omitempty"`'),
        (field("thing", Ref("Thing")), '\tThing *Thing `json:"thing,omitempty"`'),
        (field("type", Constant("thing"), required=True), '\tType tagThing `json:"type"`'),
        (field("cut", Constant(value=True)), '\tCut bool `json:"cut,omitempty"`'),
    ],
)
def test_a_field_is_a_pointer_if_empty_and_absent_differ(own: Field, line: str) -> None:
    assert line in emit(struct(own), WORD).splitlines()


def test_fields_are_aligned_between_comments() -> None:
    third = Field("b", Scalar("any"), required=True, nullable=False, default=None, doc="Why.")
    fields = (field("a", Scalar("integer")), field("long", Scalar("string")), third)
    expected = """\
type Thing struct {
	A    *int64 `json:"a,omitempty"`
	Long string `json:"long,omitempty"`
	// Why.
	B any `json:"b"`
}
"""
    assert expected in emit(struct(*fields))


def test_words_are_constants() -> None:
    assert '\tWordModelsDev Word = "models.dev"\n\tWordTwoWords  Word = "two_words"\n' in emit(WORD)


def test_a_union_reads_the_member_of_its_tag_and_keeps_others() -> None:
    text = emit(Tagged("Any", "Any.", "type", (("thing", "Thing"),), envelope=False), struct())
    assert '\tcase "thing":\n\t\tunion.Value, err = readMember[*Thing](data)\n\tdefault:\n' in text
    assert "func (Thing) isAny()   {}\nfunc (Unknown) isAny() {}\n" in text


def test_a_union_without_a_tag_reads_by_the_kind_of_json() -> None:
    members = (Scalar("string"), ListOf(Ref("Thing")), Ref("Thing"), Scalar("number"))
    text = emit(Mixed("Any", "Any.", members, nullable=False, envelope=False), struct())
    cases = [line.strip() for line in text.splitlines() if line.startswith("\tcase")]
    assert cases == ["case '\"':", "case '[':", "case '{':", "case '0':"]
    assert "// Its Value is string or []Thing or Thing or float64." in text


def test_another_tag_than_the_one_that_is_read_is_refused() -> None:
    with pytest.raises(ValueError, match="does not read the tag kind"):
        emit(Tagged("Any", "Any.", "kind", (("thing", "Thing"),), envelope=False), struct())
