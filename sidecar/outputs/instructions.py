"""The system message that teaches a model to write files, and the nonce in its markers. [pure]

The nonce depends on the beginning of the conversation only. So later turns repeat it, which keeps the provider's prompt
cache valid, and a resumed answer continues with it. Must not know how the files are read.
"""

import hashlib
from itertools import takewhile

import msgspec

from protocol.messages import Message, TextPart
from protocol.outputs import FilesOutput
from protocol.requests import Chat
from sidecar.core.message_content import list_parts
from sidecar.formats import blocks

NONCE_CHARS = 6


def add_instructions(chat: Chat, output: FilesOutput) -> tuple[Chat, str | None]:
    """Return *chat* with the instructions that *output* asks for and their nonce, or *chat* as it is and None."""
    if not output.instruct:
        return chat, None
    nonce = choose_nonce(chat.messages, output)
    place = next((at for at, each in enumerate(chat.messages) if each.role != "system"), len(chat.messages))
    added = Message(role="system", content=blocks.write_instructions(nonce))
    messages = [*chat.messages[:place], added, *chat.messages[place:]]
    return msgspec.structs.replace(chat, messages=messages), nonce


def choose_nonce(messages: list[Message], output: FilesOutput) -> str:
    """Return a nonce that occurs neither before the first answer nor in the texts that the model may change."""
    before = list(takewhile(lambda each: each.role != "assistant", messages))
    seed = msgspec.json.encode(next((each for each in before if each.role == "user"), messages[0]))
    parts = [part for message in before for part in list_parts(message)]
    texts = [*output.existing.values(), *(part.text for part in parts if isinstance(part, TextPart))]
    while True:
        seed = hashlib.sha256(seed).hexdigest().encode()
        nonce = seed[:NONCE_CHARS].decode()
        if not any(nonce in text for text in texts):
            return nonce
