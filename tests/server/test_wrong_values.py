"""A value of the wrong type in `params`: the error says what it must be, as a person would."""

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
def test_the_error_for_an_unknown_word_lists_the_known_ones(fields: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(SidecarError) as caught:
        decode_params(json.dumps(CHAT | fields).encode(), Chat)
    assert (caught.value.body.param, caught.value.body.message) == (param, f"`{param}` must be one of: {words}.")


def test_the_error_for_a_text_shows_the_pattern_as_people_write_it() -> None:
    with pytest.raises(SidecarError) as caught:
        decode_params(json.dumps(CHAT | {"model": "a\nb"}).encode(), Chat)
    assert caught.value.body.message == r"`params.model`: expected `str` matching `^[\x20-\x7e]+$`."
