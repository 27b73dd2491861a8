"""The action `count_tokens`: the provider counts if the request asks for that and it can, otherwise a local vocabulary.

Knows who counts, and how the result is described. Must not know how a provider is asked (`upstream.token_counts`) or
what a prompt is made of (`tokens.estimates`).
"""

import math
from typing import Any, NamedTuple

from protocol.messages import Message
from protocol.outputs import FilesOutput
from protocol.replies import Warn
from protocol.requests import Chat, CountTokens
from sidecar.core.errors import invalid_request
from sidecar.providers.model_names import apply_preset
from sidecar.providers.model_rows import find_base_model
from sidecar.providers.resolve import resolve_provider
from sidecar.providers.values import make_chat_spec
from sidecar.server.app import App
from sidecar.server.handlers.tasks import expand_task
from sidecar.server.open_requests import OpenRequest
from sidecar.tokens import estimates, families, texts
from sidecar.tokens.counter import Counter
from sidecar.tokens.estimates import Estimate
from sidecar.tokens.families import Family
from sidecar.tokens.texts import Count
from sidecar.tokens.vocabularies import VocabularyError
from sidecar.upstream import catalogue_refresh, token_counts


class _Prompt(NamedTuple):
    """What to count: a chat, or the *text* alone that is its only message."""

    chat: Chat
    text: str | None
    family: Family

    def estimate(self, count: Count) -> Estimate:
        """Return the tokens, given a function that counts a text."""
        if self.text is not None:
            return estimates.estimate_text(self.text, self.family, count)
        return estimates.estimate_chat(self.chat.messages, self.chat.options, self.family, count)


async def count_tokens(app: App, request: OpenRequest, params: CountTokens) -> dict[str, Any]:
    """Return the tokens of a prompt or a text, as the `TokenCount` of `protocol/results.py`.

    Raises: SidecarError `invalid_request`, `unknown_provider`; with `exact`, the errors of the provider.
    """
    up, progress = app.upstream, request.state.progress
    await catalogue_refresh.load_stored(up)
    asked = await expand_task(app, request, _make_chat(params))
    if params.text is None:
        asked = _add_instructions(asked)
    provider, chat = apply_preset(up.config, request.envelope.provider, asked)
    resolved = resolve_provider(up.setup, make_chat_spec(provider, chat))
    progress.provider, progress.model = resolved.provider.id, resolved.model
    base_model = find_base_model(resolved.settings, resolved.model)
    prompt = _Prompt(chat, params.text, families.find_family(base_model))
    if not params.exact or (params.text is not None and prompt.family.own):
        return await _estimate(up.counter, prompt)
    counted = await token_counts.count_by_provider(up, request.state, provider, chat)
    if counted is not None:
        return _complete_count(prompt, counted)
    warning = Warn(code="estimated", message="The provider does not count this itself: the count is an estimate.")
    return await _estimate(up.counter, prompt) | {"warnings": [warning]}


def _make_chat(params: CountTokens) -> Chat:
    has_chat = params.messages is not None or params.task is not None
    if has_chat == (params.text is not None):
        raise invalid_request("Set either `params.messages` or `params.text`.", "params.messages")
    return Chat(
        model=params.model,
        messages=(params.messages or []) if has_chat else [Message(role="user", content=params.text or "")],
        task=params.task,
        input=params.input,
        options=params.options,
        api_key=params.api_key,
        base_url=params.base_url,
        settings=params.settings,
    )


def _add_instructions(chat: Chat) -> Chat:
    """Return *chat* with the instructions that its output adds to the prompt."""
    output = chat.options.output
    if not isinstance(output, FilesOutput):
        return chat
    from sidecar.outputs.instructions import add_instructions

    return add_instructions(chat, output)[0]


def _complete_count(prompt: _Prompt, counted: token_counts.ProviderCount) -> dict[str, Any]:
    """Return the provider's count, with an estimate of what it left out."""
    if counted.is_whole or prompt.text is not None:
        answer = _make_answer(Estimate(counted.tokens, 0), "provider")
    else:
        frame = prompt.estimate(lambda _: 0)
        tokens = counted.tokens + frame.tokens
        band_pct = math.ceil(frame.tokens * frame.error_band_pct / tokens)
        answer = _make_answer(Estimate(tokens, band_pct), "provider", "texts of the prompt")
    return answer | ({"cached": True} if counted.is_cached else {})


async def _estimate(counter: Counter, prompt: _Prompt) -> dict[str, Any]:
    """Return a local count."""
    family = prompt.family
    try:
        counted = await counter.count_tokens(prompt.estimate, family.vocabulary)
    except VocabularyError:
        guess = await counter.count_bytes(prompt.estimate)
        return _make_answer(guess._replace(error_band_pct=texts.BYTES_BAND_PCT), "bytes", "3.5 bytes a token")
    if family.own:
        return _make_answer(counted, "vocabulary", family.vocabulary)
    return _make_answer(counted, "estimate", f"{family.vocabulary} × {family.factor:g}")


def _make_answer(counted: Estimate, method: str, basis: str | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = {"tokens": counted.tokens, "exact": counted.error_band_pct == 0, "method": method}
    if basis is not None:
        answer["basis"] = basis
    if not answer["exact"]:
        answer["error_band_pct"] = counted.error_band_pct
    return answer | {"warnings": []}
