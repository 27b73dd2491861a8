"""A chat from end to end: the request that goes out, the chunks that come back, the one terminal line."""

import pytest

from tests.e2e.harness import CANARY, Sidecar, text
from tests.e2e.provider import Provider
from tests.e2e.shapes import SHAPES, Shape

BY_SHAPE = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.wire)


@BY_SHAPE
def test_a_stream_gives_every_piece_in_order_and_one_done(sidecar: Sidecar, provider: Provider, shape: Shape) -> None:
    pieces = [f"{number} né \U0001f600 " for number in range(50)]
    lines = sidecar.stream(sidecar.chat(provider.play("m", shape.answer(*pieces)), shape))

    assert lines[0].data["data"]["type"] == "start"
    assert text(lines) == "".join(pieces)
    done = lines[-1].data["data"]
    assert done["type"] == "done"
    assert done["finish_reason"] == "stop"
    assert done["usage"]["input_tokens"] == 10
    assert done["message"]["content"] in ("".join(pieces), [{"type": "text", "text": "".join(pieces)}])
    call = provider.call("m")
    assert CANARY in (call.headers.get("x-api-key"), call.headers.get("authorization", "").removeprefix("Bearer "))
    assert call.json["stream"] is True
