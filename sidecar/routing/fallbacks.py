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
from sidecar.providers.values import ResolvedProvider, TargetSpec
from sidecar.routing.candidates import Candidate, change_model, read_models
from sidecar.routing.misfits import find_misfit
from sidecar.tokens.prompts import estimate_prompt_tokens

_PARAM = "params.options.fallbacks"


def list_candidates(
    setup: Setup, provider: str | None, chat: Chat, request_warnings: Sequence[Warn] = ()
) -> list[Candidate]:
    """Return the models to ask, the request's own first. *request_warnings* are passed on with the first to answer.

    Raises: SidecarError `invalid_request` for an unknown chain.
    """
    first = Candidate(provider, chat, [*request_warnings, *_find_mistakes(setup, chat)])
    return [first, *list_fallbacks(setup, chat, request_warnings)]


def _find_mistakes(setup: Setup, chat: Chat) -> list[Warn]:
    """Return warnings about fallbacks that no chat can ask, for the first model: when they are needed, it is too late.

    Raises: SidecarError `invalid_request` for an unknown chain.
    """
    warnings = list[Warn]()
    for index, model in enumerate(read_models(setup.config, chat.options.fallbacks, _PARAM)):
        try:
            _resolve(setup, change_model(chat, model))
        except SidecarError as error:
            warnings.append(_make_warning(index, model, _explain_mistake(error)))
    return warnings


def list_fallbacks(setup: Setup, chat: Chat, request_warnings: Sequence[Warn] = ()) -> list[Candidate]:
    """Return the fallbacks of *chat* to ask.

    Raises: SidecarError `invalid_request` for an unknown chain.
    """
    candidates, warnings = list[Candidate](), [*request_warnings]
    for index, model in enumerate(read_models(setup.config, chat.options.fallbacks, _PARAM)):
        fallback = change_model(chat, model)
        if reason := explain_misfit(setup, fallback):
            warnings.append(_make_warning(index, model, reason))
        else:
            candidates.append(Candidate(None, fallback, [*warnings]))
    return candidates


def explain_misfit(setup: Setup, chat: Chat) -> str | None:
    """Return why the model of *chat* cannot be asked or is known not to accept it, or None."""
    try:
        resolved, chat = _resolve(setup, chat)
    except SidecarError as error:
        return _explain_mistake(error)
    row = find_model_row(resolved, resolved.model)
    misfit = row and find_misfit(row, chat, lambda: estimate_prompt_tokens(chat))
    return misfit.text if misfit else None


def _resolve(setup: Setup, chat: Chat) -> tuple[ResolvedProvider, Chat]:
    provider, chat = apply_preset(setup.config, None, chat)
    return resolve_provider(setup, TargetSpec(provider=provider, model=chat.model)), chat


def _explain_mistake(error: SidecarError) -> str:
    return error.body.message.rstrip(".")


def _make_warning(index: int, model: str, reason: str) -> Warn:
    text = f"The fallback `{model}` was skipped: {reason}."
    return Warn(code="fallback_skipped", message=text, param=f"{_PARAM}[{index}]")
