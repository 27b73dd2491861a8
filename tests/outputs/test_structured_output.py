"""The JSON of an answer: found in whatever a model puts around it, and held against its schema."""

import subprocess
import sys
from typing import Any

import anyio
import pytest

from protocol.messages import Message, ReasoningPart, TextPart
from protocol.options import ResponseFormat
from protocol.replies import Structured, Warn
from sidecar.outputs import structured_output
from sidecar.wires.shared.options import RESPONSE_FORMAT

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
EMULATED = Warn(code="emulated", message="In words.", param="params.options.response_format")
JSON = ResponseFormat(type="json")


def read(wanted: ResponseFormat | None, message: Message, warnings: list[Warn]) -> Structured | None:
    return anyio.run(structured_output.read_structured_output, wanted, message, warnings)


def parse(text: str, schema: dict[str, Any] | None = None, *warnings: Warn) -> Structured:
    wanted = ResponseFormat(type="json_schema", schema=schema) if schema is not None else JSON
    found = read(wanted, Message(role="assistant", content=text), list(warnings))
    assert found is not None
    return found


@pytest.mark.parametrize(
    "text",
    [
        '{"city": "Oslo"}',
        '\n {"city": "Oslo"}\n',
        '```json\n{"city": "Oslo"}\n```',
        'Here you are:\n```\n{"city": "Oslo"}\n```\nAnything else?',
        '```python\nprint("{")\n```\nand then\n```json\n{"city": "Oslo"}\n```',
        'The answer is {"city": "Oslo"}, as {you} know.',
        'In [brackets], {so to say}: {"city": "Oslo"}',
    ],
)
def test_json_is_found_in_fences_and_prose(text: str) -> None:
    assert parse(text, CITY) == Structured(valid=True, value={"city": "Oslo"}, error=None, native=True)


@pytest.mark.parametrize(
    "text", ["Oslo", '{"city": "Os', "```json\n{\n```", "NaN", "{" * 1000, "[" * 100_000, "{not json}", '"\\ud800"']
)
def test_text_without_json_is_invalid(text: str) -> None:
    assert parse(text) == Structured(valid=False, value=None, error="$: there is no JSON in the answer", native=True)


@pytest.mark.parametrize("value", ["7", "null", "true", '"Oslo"', "[1, 2]"])
def test_without_a_schema_any_json_is_valid(value: str) -> None:
    assert parse(value).valid


@pytest.mark.parametrize(
    ("schema", "text", "error"),
    [
        (CITY, '{"city": 7}', "$.city: 7 is not of type 'string'"),
        (CITY, "{}", "$: 'city' is a required property"),
        ({"type": "array", "items": CITY}, '[{"city": "Oslo"}, {}]', "$[1]: 'city' is a required property"),
        ({"$ref": "#/$defs/city", "$defs": {"city": CITY}}, '{"city": 7}', "$.city: 7 is not of type 'string'"),
        ({"type": "whatever"}, "{}", None),
        ({"$ref": "https://example.test/schema"}, "{}", "$: the schema cannot be applied"),
        ({"pattern": "("}, '"x"', None),
    ],
)
def test_json_that_violates_its_schema_is_returned_as_invalid(
    schema: dict[str, Any], text: str, error: str | None
) -> None:
    found = parse(text, schema)
    assert not found.valid
    assert found.value is not None
    assert found.error is not None
    assert found.error.startswith("$")
    assert error is None or found.error == error


def test_a_long_violation_is_shortened() -> None:
    error = parse('{"city": ["' + "x" * 10_000 + '"]}', CITY).error
    assert error is not None
    assert len(error) <= 500


def test_json_asked_for_by_an_instruction_is_not_native() -> None:
    assert not parse("{}", None, EMULATED).native
    assert parse("{}", None, Warn(code="option_left_out", message="No seed.", param="params.options.seed")).native


def test_without_a_format_or_a_text_there_is_no_structured_output() -> None:
    spoken = Message(role="assistant", content=[ReasoningPart("{}"), TextPart("{", refusal=False), TextPart("}")])
    silent = Message(role="assistant", content=[ReasoningPart("{}"), TextPart("{}", refusal=True)])
    assert read(None, spoken, []) is None
    assert read(ResponseFormat(type="text"), spoken, []) is None
    assert read(JSON, silent, []) is None
    assert read(JSON, spoken, []) == Structured(valid=True, value={}, error=None, native=True)


def test_a_missing_schema_asks_for_any_json() -> None:
    found = read(ResponseFormat(type="json_schema"), Message(role="assistant", content="[]"), [])
    assert found is not None
    assert found.valid


def test_the_warning_of_an_instruction_names_the_option() -> None:
    assert EMULATED.param == RESPONSE_FORMAT


@pytest.mark.spawns
def test_the_schema_library_is_imported_with_the_first_schema() -> None:
    code = (
        "import sys; from sidecar.generation import attempt; from sidecar.outputs import structured_output\n"
        "from protocol.messages import Message\n"
        "from protocol.options import ResponseFormat as F\n"
        "spoken = Message(role='assistant', content='{}')\n"
        "import functools, anyio\n"
        "read = functools.partial(anyio.run, structured_output.read_structured_output)\n"
        "read(F(type='json'), spoken, []); assert 'jsonschema' not in sys.modules\n"
        "read(F(type='json_schema', schema={}), spoken, []); assert 'jsonschema' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
