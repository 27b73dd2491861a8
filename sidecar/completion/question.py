"""A completion that is wanted, and when an answer under way to an older one fits it. [pure]

Must not know providers' formats or HTTP.
"""

import msgspec

from protocol.completion import Complete
from sidecar.core.errors import invalid_request

_ELSEWHERE = ("prefix", "slot", "options")
"""Fields that are compared in another way, or say nothing about the text."""

_OWN_OPTIONS = {"budget_ms": None, "trim": True}
"""Options that concern one request alone."""


class Question(msgspec.Struct, frozen=True):
    """What a host wants to be completed, and where."""

    provider: str | None
    params: Complete


def check(params: Complete) -> None:
    """Check what the types of *params* leave open.

    Raises: SidecarError `invalid_request`.
    """
    if not params.prefix and not params.suffix:
        raise invalid_request("`params.prefix` and `params.suffix` are both empty: there is no text.", "params.prefix")
    texts = {"params.prefix": params.prefix, "params.suffix": params.suffix}
    texts |= {f"params.context[{at}].text": file.text for at, file in enumerate(params.context)}
    for param, text in texts.items():
        if "\0" in text:
            raise invalid_request(f"`{param}` has a NUL: it is no text. Leave such a file out.", param)


def find_typed(older: Question, newer: Question) -> str | None:
    """Return what was typed between two questions that are otherwise the same; None: they are not."""
    if older.provider != newer.provider or not newer.params.prefix.startswith(older.params.prefix):
        return None
    one, other = older.params, newer.params
    if any(getattr(one, name) != getattr(other, name) for name in one.__struct_fields__ if name not in _ELSEWHERE):
        return None
    options = [msgspec.structs.replace(each.options, **_OWN_OPTIONS) for each in (one, other)]
    return other.prefix[len(one.prefix) :] if options[0] == options[1] else None
