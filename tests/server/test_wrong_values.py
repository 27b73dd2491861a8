"""What a params' value of the wrong shape is answered with: what it must be, in words of people."""

import json
from typing import Any

import pytest

from protocol.requests import Chat
from sidecar.core.errors import SidecarError
from sidecar.server.framing import decode_params

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"messages": [{"role": "usr", "content": ""}]}, "params.messages[0].role", "assistant, system, tool, user"),
        (
            {
                "messages": [
                    {"role": "tool", "content": [{"type": "tool_result", "id": "1", "content": [{"type": "x"}]}]}
                ]
            },
            "params.messages[0].content[0].content[0].type",
            "text, image, file",
        ),
        ({"options": {"tool_choice": "some"}}, "params.options.tool_choice", "auto, none, required"),
        ({"options": {"cache": "on"}}, "params.options.cache", "auto, off"),
    ],
)
def test_a_word_that_a_field_does_not_have_is_answered_with_those_that_it_has(
    fields: dict[str, Any], param: str, words: str
) -> None:
    with pytest.raises(SidecarError) as caught:
        decode_params(json.dumps(CHAT | fields).encode(), Chat)
    assert (caught.value.body.param, caught.value.body.message) == (param, f"`{param}` must be one of: {words}.")


def test_a_pattern_that_a_text_does_not_have_reads_as_people_write_it() -> None:
    with pytest.raises(SidecarError) as caught:
        decode_params(json.dumps(CHAT | {"model": "a\nb"}).encode(), Chat)
    assert caught.value.body.message == r"`params.model`: expected `str` matching `^[\x20-\x7e]+$`."
