"""Which models may answer a request: its own, and its fallbacks as far as they are known to take it. [pure]

Must not know what makes one fall back.
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
from sidecar.generation import request_limits
from sidecar.providers.model_names import apply_preset
from sidecar.providers.model_rows import find_model_row
from sidecar.providers.resolve import resolve_provider
from sidecar.providers.setup import Setup
from sidecar.providers.values import TargetSpec


class Candidate(msgspec.Struct, frozen=True):
    """One model to ask, and what is to be said of those that were passed over for it."""

    provider: str | None
    chat: Chat
    warnings: list[Warn] = []


def list_candidates(setup: Setup, provider: str | None, chat: Chat) -> list[Candidate]:
    """Return whom to ask in turn, the request's own model first.

    Raises: SidecarError `invalid_request` for a chain that the configuration does not have.
    """
    found, passed_over = [Candidate(provider, chat)], list[Warn]()
    for index, model in enumerate(_read_fallbacks(setup.config, chat)):
        other = _ask_other_model(chat, model)
        if lack := _find_lack(setup, other):
            text = f"The fallback `{model}` {lack}, and is not asked."
            passed_over.append(Warn(code="fallback_skipped", message=text, param=f"params.options.fallbacks[{index}]"))
        else:
            found.append(Candidate(None, other, list(passed_over)))
    return found


def _read_fallbacks(config: Config, chat: Chat) -> list[str]:
    wanted = chat.options.fallbacks
    if isinstance(wanted, list):
        return wanted
    chain = config.chains.get(wanted)
    if chain is None:
        known = ", ".join(f"`{name}`" for name in sorted(config.chains)) or "none"
        text = f"The configuration has no such chain; [chains] has: {known}."
        raise invalid_request(text, "params.options.fallbacks")
    return chain


def _ask_other_model(chat: Chat, model: str) -> Chat:
    """Return *chat* for a fallback: another provider has no use for the credentials and settings of the first."""
    return msgspec.structs.replace(chat, model=model, api_key=None, base_url=None, settings=None)


def _find_lack(setup: Setup, chat: Chat) -> str | None:
    """Return what the model of *chat* is known to lack for it, in words, or None."""
    try:
        provider, chat = apply_preset(setup.config, None, chat)
        resolved = resolve_provider(setup, TargetSpec(provider=provider, model=chat.model))
    except SidecarError:
        # What is wrong with the name is said when its turn comes.
        return None
    row = find_model_row(resolved, resolved.model)
    if row is None:
        return None
    return next(_list_lacks(row, chat), None)


def _list_lacks(row: ModelRow, chat: Chat) -> Iterator[str]:
    if chat.options.tools and row.caps.tools is False:
        yield "takes no tools"
    kinds = {type(part) for part in _iterate_parts(chat)}
    if ImagePart in kinds and row.caps.images is False:
        yield "takes no images"
    if FilePart in kinds and row.caps.pdf is False:
        yield "takes no documents"
    longest = row.max_input or row.context_length
    if longest and request_limits.estimate_prompt_tokens(chat) > longest:
        yield f"takes {longest} tokens, fewer than the prompt has"


def _iterate_parts(chat: Chat) -> Iterator[object]:
    for message in chat.messages:
        for part in list_parts(message):
            yield part
            if isinstance(part, ToolResultPart) and isinstance(part.content, list):
                yield from part.content
