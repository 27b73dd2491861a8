"""Anthropic's Messages API."""

from sidecar.wires.anthropic_messages.decoder import CODEC, Decoder, decode_whole
from sidecar.wires.anthropic_messages.errors import classify
from sidecar.wires.anthropic_messages.request import encode

__all__ = ["CODEC", "Decoder", "classify", "decode_whole", "encode"]
