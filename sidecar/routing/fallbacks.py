"""A request's own model, and those of its fallbacks that are not known to refuse it. [pure]

Must not know after which failures the next one is asked.
"""

from collections.abc import Sequence

from protocol.replies import Warn
from protocol.requests import Chat
from sidecar.core.errors import SidecarError
from sidecar.providers.model_names import apply_preset
from sidecar.providers.model_rows import find_model_row
from sidecar.providers.resolve import resolve_provider
from sidecar.providers.setup import Setup
from sidecar.providers.values import TargetSpec
from sidecar.routing.candidates import Candidate, change_model, read_models
from sidecar.routing.misfits import find_misfit
from sidecar.tokens.prompts import estimate_prompt_tokens


def list_candidates(
    setup: Setup, provider: str | None, chat: Chat, request_warnings: Sequence[Warn] = ()
) -> list[Candidate]:
    """Return the models to ask, the request's own first. *request_warnings* are passed on with the first to answer.

    Raises: SidecarError `invalid_request` for an unknown chain.
    """
    return [Candidate(provider, chat, [*request_warnings]), *list_fallbacks(setup, chat, request_warnings)]


def list_fallbacks(setup: Setup, chat: Chat, request_warnings: Sequence[Warn] = ()) -> list[Candidate]:
    """Return the fallbacks of *chat* to ask.

    Raises: SidecarError `invalid_request` for an unknown chain.
    """
    candidates, warnings = list[Candidate](), [*request_warnings]
    for index, model in enumerate(read_models(setup.config, chat.options.fallbacks, "params.options.fallbacks")):
        fallback = change_model(chat, model)
        if reason := explain_misfit(setup, fallback):
            text = f"The fallback `{model}` was skipped: {reason}."
            warnings.append(Warn(code="fallback_skipped", message=text, param=f"params.options.fallbacks[{index}]"))
        else:
            candidates.append(Candidate(None, fallback, [*warnings]))
    return candidates


def explain_misfit(setup: Setup, chat: Chat) -> str | None:
    """Return why the model of *chat* is known not to accept it, or None."""
    try:
        provider, chat = apply_preset(setup.config, None, chat)
        resolved = resolve_provider(setup, TargetSpec(provider=provider, model=chat.model))
    except SidecarError:
        # A mistake in the name is reported when the model is asked.
        return None
    row = find_model_row(resolved, resolved.model)
    misfit = row and find_misfit(row, chat, lambda: estimate_prompt_tokens(chat))
    return misfit.text if misfit else None
