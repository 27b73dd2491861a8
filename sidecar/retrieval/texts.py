"""The texts of a request: which ones cannot be sent, and one that is cut to what a model reads. [pure]

Must not know providers.
"""

from collections.abc import Sequence

from sidecar.core.errors import SidecarError, invalid_request

KEPT_SHARE = 0.75
"""How much of a text is kept when the provider still refuses it, and its own limit is not known."""


def check_inputs(inputs: Sequence[str], start: int) -> None:
    """Check the texts from number *start* on.

    Raises: SidecarError `invalid_request`, which names the first that no model can read.
    """
    if start > len(inputs):
        text = f"`params.offset` is beyond the {len(inputs)} inputs. Send the same inputs again."
        raise invalid_request(text, "params.offset")
    for number in range(start, len(inputs)):
        param = name_input(number)
        if not inputs[number]:
            raise invalid_request(f"`{param}` is empty. Leave it out.", param, reason="empty_input")
        if "\x00" in inputs[number]:
            raise invalid_request(f"`{param}` has a NUL, as binary files have.", param, reason="nul")


def name_input(number: int) -> str:
    """Return the path of the input of that *number*."""
    return f"params.inputs[{number}]"


def cut_to_share(text: str, share: float) -> str:
    """Return the beginning of *text*, that *share* of it, but at least one character."""
    return text[: max(1, int(len(text) * share))]


def make_too_long_error(number: int, error: SidecarError | None = None) -> SidecarError:
    """Return the error for the input of that *number*, which a provider has refused with *error*, or would refuse."""
    hint = "Shorten it, or send `truncate: true` to have it cut."
    if error is not None:
        return error.with_fields(param=name_input(number), hint=hint)
    text = f"`{name_input(number)}` is longer than the model reads."
    return SidecarError("context_length_exceeded", text, param=name_input(number), hint=hint)
