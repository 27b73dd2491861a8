"""OpenAI's Chat Completions, and the many servers that speak it."""

from sidecar.wires.openai_chat.decoder import CODEC, Decoder, decode_whole
from sidecar.wires.openai_chat.errors import classify
from sidecar.wires.openai_chat.request import encode

__all__ = ["CODEC", "Decoder", "classify", "decode_whole", "encode"]
