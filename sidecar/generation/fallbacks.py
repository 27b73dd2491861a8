"""Which models may answer a request: its own, and its fallbacks unless they are known not to accept it. [pure]

Must not know after which failures the next one is asked.
"""

from collections.abc import Iterator

import msgspec

from protocol.messages import FilePart, ImagePart, ToolResultPart
from protocol.replies import Warn
from protocol.requests import Chat
from sidecar.catalogue.models import ModelRow
from sidecar.config.values import Config
from sidecar.core.errors import SidecarError, invalid_request
from sidecar.core.message_content import list_parts
from sidecar.providers.model_names import apply_preset
from sidecar.providers.model_rows import find_model_row
from sidecar.providers.resolve import resolve_provider
from sidecar.providers.setup import Setup
from sidecar.providers.values import TargetSpec
from sidecar.tokens.prompts import estimate_prompt_tokens


class Candidate(msgspec.Struct, frozen=True):
    """One model to ask, with warnings about those that were skipped before it."""

    provider: str | None
    chat: Chat
    warnings: list[Warn] = []


def list_candidates(setup: Setup, provider: str | None, chat: Chat) -> list[Candidate]:
    """Return the models to ask, the request's own first.

    Raises: SidecarError `invalid_request` for an unknown chain.
    """
    candidates, warnings = [Candidate(provider, chat)], list[Warn]()
    for index, model in enumerate(_read_fallbacks(setup.config, chat)):
        fallback = _change_model(chat, model)
        if reason := _find_misfit(setup, fallback):
            text = f"The fallback `{model}` was skipped: {reason}."
            warnings.append(Warn(code="fallback_skipped", message=text, param=f"params.options.fallbacks[{index}]"))
        else:
            candidates.append(Candidate(None, fallback, list(warnings)))
    return candidates


def _read_fallbacks(config: Config, chat: Chat) -> list[str]:
    models = chat.options.fallbacks
    if isinstance(models, list):
        return models
    chain = config.chains.get(models)
    if chain is None:
        names = ", ".join(f"`{name}`" for name in sorted(config.chains)) or "none"
        text = f"There is no such chain in the configuration. Its [chains] are: {names}."
        raise invalid_request(text, "params.options.fallbacks")
    return chain


def _change_model(chat: Chat, model: str) -> Chat:
    """Return *chat* for the fallback *model*, without the credentials and settings of the first provider."""
    return msgspec.structs.replace(chat, model=model, api_key=None, base_url=None, settings=None)


def _find_misfit(setup: Setup, chat: Chat) -> str | None:
    """Return why the model of *chat* is known not to accept it, or None."""
    try:
        provider, chat = apply_preset(setup.config, None, chat)
        resolved = resolve_provider(setup, TargetSpec(provider=provider, model=chat.model))
    except SidecarError:
        # A mistake in the name is reported when its turn comes.
        return None
    row = find_model_row(resolved, resolved.model)
    if row is None:
        return None
    return next(_find_misfits(row, chat), None)


def _find_misfits(row: ModelRow, chat: Chat) -> Iterator[str]:
    if chat.options.tools and row.caps.tools is False:
        yield "it takes no tools"
    kinds = {type(part) for part in _iterate_parts(chat)}
    if ImagePart in kinds and row.caps.images is False:
        yield "it takes no images"
    if FilePart in kinds and row.caps.pdf is False:
        yield "it takes no documents"
    max_tokens = row.max_input or row.context_length
    if max_tokens and estimate_prompt_tokens(chat) > max_tokens:
        yield f"it takes {max_tokens} tokens, fewer than the prompt has"


def _iterate_parts(chat: Chat) -> Iterator[object]:
    for message in chat.messages:
        for part in list_parts(message):
            yield part
            if isinstance(part, ToolResultPart) and isinstance(part.content, list):
                yield from part.content
