"""Amazon Bedrock's `ConverseStream`."""

from sidecar.wires.bedrock_converse.decoder import CODEC, Decoder, decode_whole
from sidecar.wires.bedrock_converse.errors import classify
from sidecar.wires.bedrock_converse.models import PROFILES_PATH, pick_profile
from sidecar.wires.bedrock_converse.request import encode, whole_request

__all__ = ["CODEC", "PROFILES_PATH", "Decoder", "classify", "decode_whole", "encode", "pick_profile", "whole_request"]
