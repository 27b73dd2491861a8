"""Lines of many megabytes: nobody else waits long for them."""

import json
import time

import pytest

from protocol.requests import Chat
from sidecar.server.framing import decode_envelope, decode_params
from tests.support.process import in_time


@pytest.mark.long
@pytest.mark.parametrize(
    "text", ["The quick brown fox. " * 500_000, "Привет 漢字 " * 200_000], ids=["plain", "escaped"]
)
def test_a_line_of_ten_megabytes_is_read_at_once(text: str) -> None:
    params = {"model": "m", "messages": [{"role": "user", "content": text}]}
    line = json.dumps({"id": 1, "action": "stream_chat", "params": params}).encode()
    assert len(line) > 10_000_000

    def measure() -> float:
        # All of it is work of this thread, and other processes do not count.
        begun = time.thread_time()
        chat = decode_params(decode_envelope(line).params, Chat)
        seconds = time.thread_time() - begun
        assert chat.messages[0].content == text
        return seconds

    in_time(measure, 0.05)
