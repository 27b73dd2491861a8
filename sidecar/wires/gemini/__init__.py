"""Gemini's `generateContent` and `streamGenerateContent`."""

from sidecar.wires.gemini.decoder import CODEC, Decoder, decode_whole
from sidecar.wires.gemini.errors import classify
from sidecar.wires.gemini.request import encode

__all__ = ["CODEC", "Decoder", "classify", "decode_whole", "encode"]
