"""What a chat will use, as far as a quick look tells."""

import msgspec
import pytest

from protocol.messages import FilePart, Message, TextPart, ToolResultPart
from protocol.options import Options
from protocol.requests import Chat
from sidecar.tokens import media, prompts

FRAME = 6
"""What the model is known to add to one message."""

PROMPT = 1000

CHAT = Chat(model="gpt-6", messages=[Message(role="user", content="x" * 4 * (PROMPT - FRAME))])


def chat(**options: object) -> Chat:
    return msgspec.structs.replace(CHAT, options=msgspec.convert(options, Options))


def test_every_part_of_a_prompt_counts() -> None:
    nested = ToolResultPart("1", [TextPart("x" * 400)])
    longer_chat = msgspec.structs.replace(CHAT, messages=[Message(role="tool", content=[nested])])
    assert prompts.estimate_prompt_tokens(longer_chat) == FRAME + 100
    tool = {"name": "f", "description": "x" * 399}
    assert prompts.estimate_prompt_tokens(chat(tools=[tool])) > PROMPT + 100


def test_a_prompt_is_estimated_by_its_models_family_and_bytes() -> None:
    chinese = msgspec.structs.replace(CHAT, messages=[Message(role="user", content="\u4f60\u597d" * 1000)])
    assert prompts.estimate_prompt_tokens(chinese) == FRAME + 1500
    claude = msgspec.structs.replace(CHAT, model="claude-opus-4-7")
    assert prompts.estimate_prompt_tokens(claude) > 1.5 * PROMPT


def test_an_estimate_does_not_parse_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "_decode_document", None)
    document = FilePart(data="JVBERi0xLjcK" * 100_000, media_type="application/pdf")
    longer_chat = msgspec.structs.replace(CHAT, messages=[Message(role="user", content=[document])])
    assert prompts.estimate_prompt_tokens(longer_chat) > 14_000


def test_many_models_get_the_estimates_that_each_gets_alone() -> None:
    models = ["gpt-6", "anthropic/claude-opus-4-7", "gpt-4", "of-no-family", "gemini-3-pro"]
    asked = chat(tools=[{"name": "f", "description": "y" * 399}, {"name": "g", "description": "z" * 799}])
    alone = [prompts.estimate_prompt_tokens(msgspec.structs.replace(asked, model=model)) for model in models]
    assert prompts.estimate_for_models(asked, models) == alone
    assert len({*alone}) > 2


@pytest.mark.parametrize(
    ("options", "tokens"),
    [({}, 2000), ({"max_tokens": 50}, 50), ({"max_tokens": 9000}, 2000), ({"max_tokens": 70, "token_limit": 60}, 60)],
)
def test_an_answer_is_expected_within_its_limits(options: dict[str, int], tokens: int) -> None:
    assert prompts.limit_output_tokens(msgspec.convert(options, Options)) == tokens
