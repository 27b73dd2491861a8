"""The types in Emacs Lisp: a table of what each is and of its parts. `make clients` compiles it."""

from protocol.emitters import elisp
from protocol.emitters.types import (
    Action,
    Constant,
    Enumeration,
    Field,
    ListOf,
    MapOf,
    Mixed,
    Ref,
    Scalar,
    Struct,
    Table,
    Tagged,
)


def emit(*types: Struct | Enumeration | Tagged | Mixed, actions: tuple[Action, ...] = ()) -> str:
    """Return the text for a protocol of these types."""
    return elisp.emit(Table(7, {each.name: each for each in types}, actions))


def test_a_struct_lists_its_keys_with_their_types() -> None:
    fields = (
        Field("type", Constant("thing"), required=True, nullable=False, default=None, doc=""),
        Field("items", ListOf(Ref("Word")), required=False, nullable=False, default=None, doc='Some "words". Or none.'),
        Field("by", MapOf(Scalar("string")), required=True, nullable=True, default=None, doc=""),
    )
    text = emit(Struct("Thing", "A \\ thing.", fields, "type", sent=True, received=True, envelope=False))
    assert (
        r"""
    (Thing
     "A \\ thing."
     (:type "\"thing\"")
     (:items "vector of Word?" "Some \"words\".  Or none.")
     (:by "plist of string or null"))"""
        in text
    )
    assert "(defconst sidecar-protocol-version 7\n" in text


def test_words_and_members_are_listed() -> None:
    word = Enumeration("Word", "A word.", ("one", "two"), received=True)
    union = Tagged("Any", "Any.", "type", (("thing", "Thing"),), envelope=False)
    mixed = Mixed("Both", "Both.", (Scalar("string"), ListOf(Scalar("number"))), nullable=False, envelope=False)
    text = emit(word, union, mixed)
    assert '(Word\n     "A word."\n     "one"\n     "two")' in text
    assert '(Any\n     "Any."\n     Thing)' in text
    assert '(Both\n     "Both."\n     "string"\n     "vector of number")' in text


def test_an_action_says_what_it_takes_streams_and_ends_with() -> None:
    action = Action("ask", "", "Question", params_required=True, answer="Answer", chunk="Piece", done="Done")
    assert '("ask" "Question" "Streams Piece.  Ends with Answer or Done.")' in emit(actions=(action,))
