"""Amazon Bedrock's Converse API."""

from sidecar.wires.bedrock_converse.decoder import CODEC, Decoder, decode_whole
from sidecar.wires.bedrock_converse.errors import classify
from sidecar.wires.bedrock_converse.models import PROFILES_PATH, pick_profile
from sidecar.wires.bedrock_converse.request import encode, make_whole_request

__all__ = [
    "CODEC",
    "PROFILES_PATH",
    "Decoder",
    "classify",
    "decode_whole",
    "encode",
    "make_whole_request",
    "pick_profile",
]
