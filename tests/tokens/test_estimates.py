"""Tokens of texts and prompts: cut without loss, framed as the models frame them, estimated by their family."""

import base64
import random
from itertools import chain
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.requests import Chat
from sidecar.catalogue import models
from sidecar.tokens import estimates, families, texts, vocabularies
from sidecar.tokens.estimates import Estimate
from sidecar.tokens.families import Family
from sidecar.tokens.texts import Count
from tests.support.token_bands import counter

pytestmark = pytest.mark.long

O200K, CL100K = counter("o200k_base"), counter("cl100k_base")

PLAIN = Family(name="plain", models=(), own=True, prompt=3, message=4, call=8, tools=12, tool=4, schema="signature")


def chat(content: Any, role: str = "user", **options: Any) -> Chat:
    return msgspec.convert({"model": "m", "messages": [{"role": role, "content": content}], "options": options}, Chat)


def estimate(asked: Chat, family: Family = PLAIN) -> Estimate:
    return estimates.estimate_chat(asked.messages, asked.options, family, O200K)


# --- texts -----------------------------------------------------------------------------------

SNIPPETS = st.sampled_from(
    [
        *("don't", "'", "\u2019s", "<|endoftext|>", "  ", "\r\n", "//", "x=1;", "{}", "23", "e\u0301"),
        *"aZ1 \n\t._\u00e9\u00bd\u4f60\u3002\uff0c\U0001f6f5\u200d\u00a0\u2028\u01c5\u2177\u00b2",
    ]
)


@pytest.fixture
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "PIECE_CHARS", 40)
    monkeypatch.setattr(texts, "_WINDOW_CHARS", 30)


@pytest.mark.usefixtures("short_pieces")
@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
def test_the_tokens_of_the_pieces_are_those_of_the_text(name: str) -> None:
    encoding = vocabularies.load(name)
    clean = 0

    @settings(max_examples=100)
    @given(text=st.lists(SNIPPETS, min_size=20, max_size=120).map("".join))
    def check(text: str) -> None:
        nonlocal clean
        pieces = list(texts.cut_pieces(text))
        assert "".join(pieces) == text
        assert max(map(len, pieces)) <= 40
        cuts = list(texts.list_cuts(text))
        whole, parts = encoding.encode_ordinary(text), [encoding.encode_ordinary(piece) for piece in pieces]
        if all(seam for _, seam in cuts):
            clean += len(cuts)
            assert [*chain.from_iterable(parts)] == whole
        else:
            # A cut anywhere may make a token or two more of one, never lose many.
            assert abs(sum(map(len, parts)) - len(whole)) <= 8 * len(cuts)

    check()
    assert clean > 100


ADVERSARIES = {
    "blanks": " " * 1_000_000,
    "tabs": "\t" * 1_000_000 + "x",
    "blanks and a letter": " " * 1_000_000 + "x",
    "lines": "\n" * 300_000,
    "letters": "a" * 300_000,
    "ideographs": "\u4f60" * 100_000,
    "accents": "\u0301" * 100_000,
    "base64": base64.b64encode(random.Random(1).randbytes(200_000)).decode(),
}


@pytest.mark.parametrize("name", ADVERSARIES)
def test_no_text_is_too_much_for_the_vocabulary(name: str) -> None:
    """A million blanks at once end the thread that counts them, and with it the process."""
    text = ADVERSARIES[name]
    assert 0 < O200K(text) <= len(text)
    assert 0 < CL100K(text) <= len(text.encode())


def test_a_text_is_counted_exactly_by_the_models_own_vocabulary() -> None:
    text = "hello world " * 20_000
    assert estimates.estimate_text(text, PLAIN, O200K) == Estimate(O200K(text), 0)
    # Cut where a token may lie across, it is no longer said to be exact.
    assert estimates.estimate_text("a" * 100_000, PLAIN, O200K).error_band_pct > 0
    assert estimates.estimate_text("", PLAIN, O200K) == Estimate(0, 0)


def test_a_text_of_another_model_is_estimated_upwards() -> None:
    family = Family(name="other", models=(), factor=1.53, band_pct=25)
    assert estimates.estimate_text("hello world", family, O200K) == Estimate(4, 25)


@given(text=st.text(max_size=300))
def test_without_a_vocabulary_bytes_are_counted(text: str) -> None:
    assert texts.count_by_bytes(text) >= len(text.encode("utf-8", "replace")) / 4


# --- messages --------------------------------------------------------------------------------


def test_messages_are_framed_as_the_cookbook_says() -> None:
    # As the provider counted it: openai-cookbook's rule, and what was recorded of gpt-4.1-mini.
    two = [{"role": "system", "content": "Follow the system instructions."}, {"role": "user", "content": ""}]
    asked = msgspec.convert({"model": "gpt-4.1-mini", "messages": two}, Chat)
    assert estimate(asked, families.find_family("gpt-4.1-mini")).tokens == 16


WEATHER = {
    "messages": [
        {"role": "system", "content": "You are a helpful assistant that can answer to questions about the weather."},
        {"role": "user", "content": "What's the weather like in San Francisco?"},
    ],
    "options": {
        "tools": [
            {
                "name": "get_current_weather",
                "description": "Get the current weather in a given location",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
                        "unit": {
                            "type": "string",
                            "description": "The unit of temperature to return",
                            "enum": ["celsius", "fahrenheit"],
                        },
                    },
                    "required": ["location"],
                },
            }
        ]
    },
}


@pytest.mark.parametrize(
    ("model", "tokens_billed"), [("gpt-3.5-turbo", 105), ("gpt-4", 105), ("gpt-4o", 101), ("gpt-4o-mini", 101)]
)
def test_the_cookbooks_example_is_what_its_api_has_counted(model: str, tokens_billed: int) -> None:
    """openai-cookbook, "How to count tokens with tiktoken", section 7: its function and the API agree on these."""
    family = families.find_family(model)
    count = O200K if vocabularies.resolve_name(family.vocabulary) == "o200k_base" else CL100K
    asked = msgspec.convert({"model": model} | WEATHER, Chat)
    assert estimates.estimate_chat(asked.messages, asked.options, family, count).tokens == tokens_billed


def cookbook(asked: Chat, func_init: int, count: Count) -> int:
    """Return what the cookbook's rule makes of *asked*, whose tools have flat schemas and whose parts are texts."""
    total = 3 + sum(3 + count(message.role) + count(str(message.content)) for message in asked.messages)
    for tool in asked.options.tools:
        total += func_init + count(f"{tool.name}:{(tool.description or '').removesuffix('.')}")
        properties = tool.parameters.get("properties", {})
        total += 3 if properties else 0
        for name, each in properties.items():
            total += 3 + count(f"{name}:{each['type']}:{each['description'].removesuffix('.')}")
            choices = each.get("enum", [])
            total += sum(3 + count(choice) for choice in choices) - 3 if choices else 0
    return total + (12 if asked.options.tools else 0)


LINES = st.sampled_from(["The city.", "A unit", "n\u00ba 7: don't", "", "lines\nof text."])
PROPERTIES = st.dictionaries(
    st.sampled_from(["city", "unit", "max_results", "\u4f60"]),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["string", "integer"]), "description": LINES},
        optional={"enum": st.lists(st.sampled_from(["celsius", "a b", "7"]), min_size=1, max_size=3)},
    ),
)
TOOLS = st.lists(
    st.builds(
        lambda name, description, properties: {
            "name": name,
            "description": description,
            "parameters": {"type": "object", "properties": properties},
        },
        st.sampled_from(["look_up", "f"]),
        LINES,
        PROPERTIES,
    ),
    max_size=3,
)


@given(said=st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), LINES), min_size=1), tools=TOOLS)
def test_any_chat_and_tools_are_counted_by_the_cookbooks_rule(said: list[tuple[str, str]], tools: list[Any]) -> None:
    messages = [{"role": role, "content": content} for role, content in said]
    for model, func_init, count in (
        ("gpt-4", 10, CL100K),
        ("gpt-3.5-turbo", 10, CL100K),
        ("gpt-4o", 7, O200K),
        ("gpt-4o-mini", 7, O200K),
    ):
        asked = msgspec.convert({"model": model, "messages": messages, "options": {"tools": tools}}, Chat)
        found = estimates.estimate_chat(asked.messages, asked.options, families.find_family(model), count)
        assert found.tokens == cookbook(asked, func_init, count)


def test_a_part_of_each_kind_counts() -> None:
    nothing = estimate(chat("")).tokens
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x02\0\0\0\x02\0").decode()
    family = msgspec.structs.replace(PLAIN, page=1000)
    state = {"provider": "p", "wire": "w", "data": {"signature": "x" * 4000}}
    text = base64.b64encode(b"hello world").decode()
    for part, more in (
        ({"type": "text", "text": "hello world"}, 2),
        ({"type": "image", "data": png, "media_type": "image/png"}, 1000),
        ({"type": "image", "url": "https://example.com/x.png"}, 1000),
        ({"type": "file", "data": text, "media_type": "text/plain"}, 2),
        ({"type": "file", "data": "JVBERi0xLjcK"}, 1000),
        ({"type": "file", "url": "https://example.com/x.pdf"}, 1000),
        ({"type": "reasoning", "content": "hello world"}, 0),
        ({"type": "reasoning", "content": "hello world", "state": state}, 2),
        ({"type": "reasoning", "content": "", "state": state}, 1004),
        ({"type": "tool_call", "id": "1", "name": "f", "arguments": {}}, 8 + 2),
        ({"type": "tool_call", "id": "1", "name": "f", "arguments_text": "{}"}, 8 + 2),
        ({"type": "tool_result", "id": "1", "content": "hello world"}, 2),
        ({"type": "tool_result", "id": "1", "content": [{"type": "text", "text": "hello world"}]}, 2),
        ({"type": "opaque", "kind": "k", "state": state}, 1004),
        ({"type": "opaque", "kind": "k", "state": state | {"data": {"id": "small"}}}, 0),
        # What an encoder would refuse is counted as what it says it is.
        ({"type": "image"}, 1000),
        ({"type": "file", "data": "*", "media_type": "text/plain"}, 0),
    ):
        asked = chat([part], "assistant")
        assert estimate(asked, family).tokens - nothing == pytest.approx(more, abs=2), part


def test_the_band_is_wider_where_less_is_known() -> None:
    prose = "This is a long and ordinary text. " * 200
    text = estimate(chat(prose)).error_band_pct
    tools = [{"name": "f", "parameters": {"type": "object", "properties": {"x": {"type": "string"}}}}]
    family = msgspec.structs.replace(PLAIN, tools_slack=100)
    image = [{"type": "text", "text": prose}, {"type": "image", "url": "https://example.com/x.png"}]
    assert estimate(chat(prose, tools=tools), family).error_band_pct > text
    assert estimate(chat(image)).error_band_pct > text
    assert estimate(chat("Hi")).error_band_pct > text


def test_a_schema_for_the_answer_and_reasoning_count_where_the_family_says_so() -> None:
    family = msgspec.structs.replace(PLAIN, format=100, reasoning=30)
    form = {"type": "json_schema", "schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
    plain = estimate(chat("Hi"), family).tokens
    assert estimate(chat("Hi", response_format=form), family).tokens > plain + 100
    free = msgspec.structs.replace(family, format_factor=0)
    assert estimate(chat("Hi", response_format=form), free).tokens == plain
    assert estimate(chat("Hi", reasoning={"effort": "low"}), family).tokens == plain + 30
    assert estimate(chat("Hi", reasoning={"effort": "none"}), family).tokens == plain


# --- tools -----------------------------------------------------------------------------------


def tool_tokens(schema: dict[str, Any]) -> int:
    asked = chat("", tools=[{"name": "f", "description": "Do it.", "parameters": schema}])
    return estimate(asked).tokens - estimate(chat("")).tokens


def test_a_tool_is_a_signature() -> None:
    # 12 for all tools, 4 for this, `f:Do it`; then 3, and for each property 3 and its line; choices 3 each, less 3.
    base = 12 + 4 + O200K("f:Do it")
    assert tool_tokens({}) == base
    one = {"type": "object", "properties": {"city": {"type": "string", "description": "Its name."}}}
    assert tool_tokens(one) == base + 3 + 3 + O200K("city:string:Its name")
    choice = {"type": "object", "properties": {"unit": {"type": "string", "enum": ["celsius", "kelvin"]}}}
    choices = 3 + O200K("celsius") + 3 + O200K("kelvin") - 3
    assert tool_tokens(choice) == base + 3 + 3 + O200K("unit:string:") + choices


def test_what_a_schema_contains_or_refers_to_counts_once() -> None:
    inner = {"type": "object", "properties": {"street": {"type": "string"}}}
    flat = tool_tokens({"type": "object", "properties": {"a": {"type": "object"}}})
    nested = tool_tokens({"type": "object", "properties": {"a": inner}})
    assert nested > flat
    array = {"type": "object", "properties": {"a": {"type": "array", "items": inner}}}
    assert tool_tokens(array) == pytest.approx(nested, abs=1)
    referring = {"$defs": {"A": inner}, "type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}
    assert tool_tokens(referring) == nested
    either = {"type": "object", "properties": {"a": {"type": "object", "anyOf": [inner, {"type": "null"}]}}}
    assert tool_tokens(either) == nested


def test_a_schema_that_contains_itself_is_counted() -> None:
    node = {"type": "object", "properties": {name: {"$ref": "#/$defs/N"} for name in "abcdefgh"}}
    assert tool_tokens({"$defs": {"N": node}, **node}) < 500
    odd = {"properties": {"a": {"$ref": "#/nowhere"}, "b": 7, "c": {"type": ["string", "null"], "enum": "x"}}}
    assert tool_tokens(odd) > 0
    assert tool_tokens({"properties": "none"}) > 0


# --- families --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("gpt-4", "GPT-4, GPT-3.5"),
        ("gpt-4-turbo-2024-04-09", "GPT-4, GPT-3.5"),
        ("gpt-4o-2024-11-20", "GPT-4o, GPT-4.1, GPT-4.5"),
        ("ft:gpt-4o:me", "GPT-4o, GPT-4.1, GPT-4.5"),
        ("openai/gpt-4o-mini", "GPT-4o mini"),
        ("gpt-4.1-nano", "GPT-4.1 mini, nano"),
        ("gpt-5", "o1, o3, GPT-5"),
        ("gpt-5-mini", "GPT-5 mini, nano, o4-mini"),
        ("o3-pro", "o1, o3, GPT-5"),
        ("gpt-5.4", "GPT-5.4 and later"),
        ("gpt-6.1-sol", "GPT-5.4 and later"),
        ("codex-mini-latest", "GPT-5.4 and later"),
        ("openai.gpt-oss-120b-1:0", "gpt-oss"),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", "Claude 3.7, 4"),
        ("claude-opus-4-1-20250805", "Claude 3.7, 4"),
        ("anthropic/claude-3.5-haiku", "Claude 3, 3.5"),
        ("claude-3-7-sonnet@20250219", "Claude 3.7, 4"),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", "Claude 4.5, 4.6"),
        ("claude-opus-4.6", "Claude 4.5, 4.6"),
        ("claude-opus-4-7", "Claude 4.7 and later"),
        ("anthropic/claude-sonnet-5.5", "Claude 4.7 and later"),
        ("claude-fable-5-2", "Claude 4.7 and later"),
        ("models/gemini-2.5-pro", "Gemini 1, 2"),
        ("gemini-4-argon", "Gemini 3 and later"),
        ("@cf/meta/llama-3.3-70b-instruct-fp8-fast", "Llama 3.1 and later"),
        ("llama3.2:1b", "Llama 3.1 and later"),
        ("llama3-8b-8192", "Llama"),
        ("deepseek-chat", "DeepSeek"),
        ("qwen/qwen3-coder", "Qwen"),
        ("x-ai/grok-4.1-fast", "Grok"),
        ("something-new", "Others"),
    ],
)
def test_a_model_has_its_family_however_its_name_is_spelled(model: str, family: str) -> None:
    assert families.find_family(model).name == family


def test_every_family_has_its_vocabulary_and_a_name_of_its_own() -> None:
    rows = families.load_families()
    assert {vocabularies.resolve_name(row.vocabulary) for row in rows} <= set(vocabularies.load_table())
    assert len({row.name for row in rows}) == len(rows)
    assert rows[-1].models == ("*",)


def test_hosts_of_one_model_count_alike() -> None:
    """Ours: a family is the model's, whoever hosts it."""
    for model, family in (("gpt-6", "GPT-5.4 and later"), ("claude-opus-5-5", "Claude 4.7 and later")):
        known = [row for of in ("openai", "azure", "copilot", "anthropic", "vertex") for row in models.read_rows(of)]
        assert {families.find_family(each).name for each in known if each.startswith(model)} == {family}


def test_all_texts_of_a_prompt_are_found() -> None:
    asked = chat(
        [{"type": "text", "text": "one"}, {"type": "tool_result", "id": "1", "content": "two"}], tools=[{"name": "f"}]
    )
    found = estimates.list_texts(asked.messages, asked.options)
    assert found[:2] == ["one", "two"]
    assert msgspec.json.decode(found[2])["name"] == "f"
