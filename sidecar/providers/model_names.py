"""The names of models: presets, and names that include the provider. [pure]"""

from collections.abc import Collection, Sequence

import msgspec

from protocol.options import Options
from protocol.requests import Chat
from sidecar.catalogue import provider_rows
from sidecar.config.values import Config
from sidecar.core.errors import SidecarError, clean_text, invalid_request

MAX_COMPARED = 2000
"""How many names are compared with one that is unknown. The largest list of a provider has a few hundred."""

MAX_SUGGESTIONS = 3

MAX_SHOWN_CHARS = 128
"""A longer name is not suggested."""

MIN_SIMILARITY = 0.5


def apply_preset(config: Config, provider: str | None, chat: Chat) -> tuple[str | None, Chat]:
    """Return provider and chat with the preset applied, if the model is one. The chat's own options win."""
    preset = config.models.get(chat.model)
    if preset is None:
        return provider, chat
    options = preset.get("options", {}) | msgspec.to_builtins(chat.options)
    preset_chat = msgspec.structs.replace(chat, model=preset["model"], options=msgspec.convert(options, Options))
    return preset.get("provider"), preset_chat


def take_preset_options(config: Config, chat: Chat, names: Collection[str]) -> Chat:
    """Return *chat* with those of the options *names* that its preset sets, if its model is one; its own win."""
    preset = config.models.get(chat.model, {})
    found = [name for name in preset.get("options", {}) if name in names]
    if not found:
        return chat
    whole = apply_preset(config, None, chat)[1].options
    options = msgspec.structs.replace(chat.options, **{name: getattr(whole, name) for name in found})
    return msgspec.structs.replace(chat, options=options)


def expand_preset(config: Config, provider: str | None, model: str) -> tuple[str | None, str]:
    """Return provider and model, those of the preset if *model* is one."""
    preset = config.models.get(model)
    return (provider, model) if preset is None else (preset.get("provider"), preset["model"])


def split_model(config: Config, provider: str | None, model: str) -> tuple[str, str]:
    """Return provider id and model. *model* may be `provider/model` or `[provider]model`.

    Raises: SidecarError `unknown_provider`, or `invalid_request` if nothing names a provider.
    """
    if model.startswith("[") and "]" in model:
        provider, _, model = model[1:].partition("]")
    elif provider is None:
        prefix, slash, rest = model.partition("/")
        if not slash or not is_provider(config, prefix):
            raise _make_nameless_error(config, prefix if slash else "")
        provider, model = prefix, rest
    found = find_id(config, provider)
    if not model:
        raise invalid_request("`params.model` names a provider but no model.", "params.model")
    return found, model


def _make_nameless_error(config: Config, prefix: str) -> SidecarError:
    """Return the error for a model without a provider, whose name begins with *prefix*."""
    error = invalid_request("`provider` is required, unless the model names it: `provider/model`.", "provider")
    nearest = _find_nearest(config, prefix)
    if nearest is None:
        return error
    return error.with_fields(hint=f"No provider has the name that the model begins with. Did you mean `{nearest}`?")


def _find_nearest(config: Config, name: str) -> str | None:
    # Only a failure needs it.
    from difflib import get_close_matches

    known = {*provider_rows.read_providers(), *config.providers, *provider_rows.read_aliases()}
    return next(iter(get_close_matches(name, known, n=1)), None)


def find_id(config: Config, name: str) -> str:
    """Return the id of the provider whose id or alias is *name*.

    Raises: SidecarError `unknown_provider`.
    """
    found = provider_rows.read_aliases().get(name, name)
    if not is_provider(config, found):
        known = ", ".join(sorted({*provider_rows.read_providers(), *config.providers}))
        text, nearest = f"There is no such provider. The providers are: {known}.", _find_nearest(config, name)
        hint = f"Did you mean `{nearest}`?" if nearest else None
        raise SidecarError("unknown_provider", text, param="provider", hint=hint)
    return found


def is_provider(config: Config, name: str) -> bool:
    """Return whether *name* is a provider's id or alias."""
    return name in provider_rows.read_providers() or name in config.providers or name in provider_rows.read_aliases()


def find_similar(model: str, names: Sequence[str]) -> list[str]:
    """Return those of *names* that are most similar to *model*, and not the same."""
    # Each comparison takes time, in the event loop; a name that cannot be shown as it is helps nobody.
    some = names[:MAX_COMPARED]
    clean = [each for each in some if each != model and len(each) <= MAX_SHOWN_CHARS and clean_text(each) == each]
    from difflib import get_close_matches  # Only a failure needs it.

    return get_close_matches(model, clean, MAX_SUGGESTIONS, MIN_SIMILARITY)
