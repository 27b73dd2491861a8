"""Which chats may use an answer again, and which answers are stored. [pure]

Each rule is the lesson of a cache that did harm: one tenant's answer for another, a half answer for a whole one, the
same joke for ever. Must not know where answers are kept.
"""

from protocol.messages import ReasoningPart, TextPart
from protocol.replies import Done
from protocol.requests import Chat
from sidecar.providers.values import Target


def find_obstacle(chat: Chat, target: Target) -> str | None:
    """Return why the answer to *chat* is neither looked up nor stored, or None."""
    options, reuse = chat.options, chat.options.reuse
    passed = options.provider_options
    if options.tools or passed.get("tools"):
        return "the chat declares tools, whose results change"
    if passed.get("background"):
        return "the provider keeps the answer itself, as `background` asks"
    temperature = passed.get("temperature", options.temperature)
    if temperature and not (reuse and reuse.force):
        return "a `temperature` above 0 asks for answers that differ; `force` reuses them anyway"
    auth = target.row.auth
    if target.credential is None and (auth.identity_env or auth.identity_files):
        return "the provider is authorized by an identity of this machine, which may change unseen"
    return None


def is_storable(done: Done) -> bool:
    """Return whether an answer is complete, and stays valid when it is used later.

    Citations may name addresses that expire, and blocks of the provider's own tools refer to what those have done.
    """
    if done.finish_reason != "stop":
        return False
    if done.structured and done.structured.valid is False:
        return False
    content = done.message.content
    return isinstance(content, str) or all(
        isinstance(part, ReasoningPart) or (isinstance(part, TextPart) and not part.citations) for part in content
    )
