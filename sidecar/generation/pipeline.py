"""The steps around an answer, in their order: shorten the chat, read the output, run the tool loop, hedge, ask.

Knows the order only. The steps belong to other modules. Stored answers are looked up in `run`, for each model that is
asked, because their key is the request as it would be sent to that model.
"""

from functools import partial

from protocol.outputs import TextOutput
from protocol.requests import Chat
from sidecar.config.values import Config
from sidecar.core.request_state import RequestState
from sidecar.generation import run
from sidecar.outputs.sink import Sink
from sidecar.providers.model_names import take_preset_options
from sidecar.upstream.context import Upstream

STEPS = ("compact", "overflow", "output", "tool_loop", "hedge")
"""The options that switch steps on. They are read from a preset here, and all others where its model is asked."""

SHARED = ("budget_usd", "token_limit", "tool_choice")
"""The options of a preset that concern all rounds of a tool loop."""


def take_steps(config: Config, chat: Chat) -> Chat:
    """Return *chat* with the options of its preset that decide about steps, if its model is one."""
    return take_preset_options(config, chat, STEPS) if chat.model in config.models else chat


async def answer_chat(up: Upstream, state: RequestState, chat: Chat, sink: Sink) -> None:
    """Answer *chat*, and send every chunk to *sink*.

    Raises: SidecarError, the failure of the last model that was asked.
    """
    chat = take_steps(up.config, chat)
    if chat.options.compact or chat.options.overflow is not None:
        # Most chats are sent as they are.
        from sidecar.window.shorten import shorten

        chat, sink = await shorten(up, state, chat, sink)
    output = chat.options.output
    if output is None or isinstance(output, TextOutput):
        await _answer_rounds(up, state, chat, sink)
        return
    # Most chats have none.
    from sidecar.generation.resume import find_earlier_text
    from sidecar.outputs.reading import read_output

    async with read_output(chat, output, sink, find_earlier_text(chat)) as (instructed, reader):
        await _answer_rounds(up, state, instructed, reader)


async def _answer_rounds(up: Upstream, state: RequestState, chat: Chat, sink: Sink) -> None:
    """Answer *chat* once, or in several rounds with the results of its tools."""
    answer = partial(_ask, up, state)
    loop = chat.options.tool_loop
    if loop is None:
        await answer(chat, sink)
        return
    from sidecar.generation.tool_loop import answer_in_rounds

    await answer_in_rounds(state, take_preset_options(up.config, chat, SHARED), loop, sink, answer)


async def _ask(up: Upstream, state: RequestState, chat: Chat, sink: Sink) -> None:
    """Ask the model of *chat*, and other models if it is slow or fails."""
    hedge = chat.options.hedge
    if hedge is None:
        await run.stream_chat(up, state, chat, sink)
        return
    from sidecar.generation.hedge import answer_hedged  # Most chats have none.

    await answer_hedged(up, state, chat, hedge, sink, partial(run.stream_chat, up))
