"""What a provider can be asked: the closed table of kinds that the ledger knows. [pure]

A new kind of question is one row here.
"""

from typing import NamedTuple


class Kind(NamedTuple):
    """One kind of question."""

    meaning: str
    """What is asked, for the documents."""
    has_price: bool
    """Whether a provider charges for it. An attempt of a kind without a price costs nothing, whatever it used."""
    by_minute: bool = False
    """Whether attempts of a minute that differ in nothing but numbers share a row: there may be thousands in an hour.
    """


KINDS: dict[str, Kind] = {
    "chat": Kind("an answer to a conversation", has_price=True),
    "branch": Kind("an answer of one of the models that `compare` asks", has_price=True),
    "hedge": Kind("an answer of a model that is asked because the one before it is slow", has_price=True),
    "judge": Kind("which of several answers is best", has_price=True),
    "completion": Kind("the text at a cursor", has_price=True, by_minute=True),
    "reuse": Kind("nobody: the answer was stored", has_price=False),
    "list": Kind("a provider's list of models", has_price=False),
    "rerank": Kind("which documents fit a query best", has_price=True),
    "count": Kind("the tokens of a prompt", has_price=False),
    "embed": Kind("vectors for texts", has_price=True),
}
