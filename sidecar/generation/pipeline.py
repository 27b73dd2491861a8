"""A chat as a host asks for it: what stands around an answer, in the order in which it takes hold.

Knows the order alone. What is done with the conversation before, with the chunks after, and with the answer itself
belongs to the packages that it names.
"""

from protocol.requests import Chat
from sidecar.core.request_state import RequestState
from sidecar.generation import run
from sidecar.outputs.sink import Sink
from sidecar.upstream.context import Upstream


async def answer_chat(up: Upstream, state: RequestState, chat: Chat, sink: Sink) -> None:
    """Answer *chat*, and send every chunk to *sink*.

    Raises: SidecarError as the last model failed that was asked.
    """
    await run.stream_chat(up, state, chat, sink)
