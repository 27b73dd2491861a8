"""The codecs by name, each imported on first use. [sans-IO]"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from sidecar.codecs.frame import Codec


def _make_aws_eventstream() -> Codec:
    from sidecar.codecs import aws_eventstream

    return aws_eventstream.Codec()


def _make_ndjson() -> Codec:
    from sidecar.codecs import ndjson

    return ndjson.Codec()


def _make_sse() -> Codec:
    from sidecar.codecs import sse

    return sse.Codec()


CODECS: Mapping[str, Callable[[], Codec]] = MappingProxyType(
    {
        "aws_eventstream": _make_aws_eventstream,
        "ndjson": _make_ndjson,
        "sse": _make_sse,
    }
)
"""What makes the codec for one stream, by the name that a wire gives as its `CODEC`."""


def make_codec(name: str) -> Codec:
    """Return a new codec of the format *name*."""
    return CODECS[name]()
