"""A schema of the host's over a text of the model's: checked in bounded work, or said not to be."""

import json
import time
from typing import Any

import anyio
import pytest

from protocol.messages import Message
from protocol.options import ResponseFormat
from protocol.replies import Structured
from sidecar.outputs.schema_check import UncheckedError, find_violation
from sidecar.outputs.structured_output import read_structured_output

pytestmark = pytest.mark.anyio

BOUND_SECONDS = 5.0
"""Far more than any check takes, and far less than the minutes and years that these took."""

DOUBLED = {
    "$ref": "#/$defs/0",
    "$defs": {str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}] * 2} for n in range(40)} | {"40": {}},
}


async def read(schema: dict[str, Any], text: str) -> Structured:
    wanted = ResponseFormat(type="json_schema", schema=schema)
    found = await read_structured_output(wanted, Message(role="assistant", content=text), [])
    assert found is not None
    return found


@pytest.mark.long
@pytest.mark.parametrize(
    ("schema", "text", "valid"),
    [
        ({"type": "array", "uniqueItems": True}, json.dumps([{"a": n} for n in range(20_000)]), True),
        ({"type": "array", "uniqueItems": True}, '[{"a":1},{"a":1.0}]', False),
        ({"type": "array", "uniqueItems": True}, "[1,true,[],{}]", True),
        ({"properties": {"a": {"pattern": "^(a+)+$"}}}, '{"a":"%s!"}' % ("a" * 40), False),
        ({"patternProperties": {"^(a+)+$": {"type": "number"}}}, '{"%s!":"b"}' % ("a" * 40), True),
        ({"patternProperties": {"^a": {"type": "number"}}}, '{"ab":"c"}', False),
        ({"patternProperties": {"^a": {}}, "additionalProperties": False}, '{"ab":1}', True),
        ({"patternProperties": {"^a": {}}, "additionalProperties": False}, '{"ab":1,"c":2}', False),
        ({"additionalProperties": {"type": "number"}}, '{"c":"2"}', False),
        (DOUBLED, "{}", None),
        ({"pattern": "(?=a)b"}, '"b"', None),
        ({"$schema": 5}, "{}", False),
        ({"$schema": []}, "{}", False),
        ({"$schema": {}}, "{}", False),
        ({"items": {"enum": list(range(1000))}}, json.dumps([999] * 2000), None),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_work_is_bounded_whatever_the_schema_and_the_text(
    schema: dict[str, Any], text: str, *, valid: bool
) -> None:
    began = time.process_time()
    found = await read(schema, text)
    assert time.process_time() - began < BOUND_SECONDS
    assert found.valid is valid
    assert (found.error is None) is (valid is True)


@pytest.mark.long
async def test_the_loop_turns_while_a_schema_is_checked() -> None:
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.sleep(0.005)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turn)
        await read(DOUBLED, "{}")
        tasks.cancel_scope.cancel()
    assert turns > 5


@pytest.mark.long
async def test_prose_full_of_brackets_is_read_a_few_times_only() -> None:
    text = "prose: " + "[1," * 64 + "1," * 2_000_000
    began = time.process_time()
    found = await read({}, text)
    assert time.process_time() - began < BOUND_SECONDS
    assert found == Structured(valid=False, value=None, error="$: there is no JSON in the answer", native=True)


@pytest.mark.long
def test_a_check_that_is_given_up_says_why() -> None:
    with pytest.raises(UncheckedError, match="too much work"):
        find_violation({}, DOUBLED)
    with pytest.raises(UncheckedError, match="no linear engine"):
        find_violation("b", {"pattern": "(?<=a)b"})
