"""OpenAI's Responses API."""

from sidecar.wires.openai_responses.decoder import CODEC, Decoder, decode_whole
from sidecar.wires.openai_responses.errors import classify
from sidecar.wires.openai_responses.request import cancel_request, continue_request, encode

__all__ = ["CODEC", "Decoder", "cancel_request", "classify", "continue_request", "decode_whole", "encode"]
