"""The tasks that come with the program: each row can be run as it is, and says nothing that no one asked for."""

from string import Template
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from protocol.tasks import DesignPhase, Issue
from sidecar.config import task_rows
from sidecar.config.task_rows import MODEL_KEYS, TaskRow
from sidecar.core import resources
from sidecar.tasks import inputs

NAMES = (
    "template_selection",
    "blueprint",
    "project_setup",
    "design_phase",
    "implement_phase",
    "code_review",
    "regenerate_file",
    "analyze_screenshot",
    "fix_code",
    "generate_code",
    "converse",
    "plan",
    "creative",
    "qa",
    "edit_selection",
    "explain",
    "commit_message",
    "title",
)
ROWS = {name: msgspec.convert(table, TaskRow) for name, table in task_rows.read_built_in().items()}

MOST_PROMPT_CHARS = 1200


def test_the_tasks_are_those_that_are_promised() -> None:
    assert tuple(ROWS) == NAMES
    assert resources.find("tasks/built_in.toml").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_every_placeholder_is_an_input_and_every_input_is_used(name: str) -> None:
    row = ROWS[name]
    assert not list(task_rows.find_problems(row))
    used = {each for text in (row.system, row.prompt) for each in Template(text).get_identifiers()}
    images = {each for each, kind in row.input.items() if kind.startswith("image")}
    assert used | images | task_rows.list_references(row.output) == row.input.keys()


@pytest.mark.parametrize("name", NAMES)
def test_a_row_names_no_model_and_is_short(name: str) -> None:
    row = ROWS[name]
    assert not any(getattr(row, key) for key in MODEL_KEYS)
    assert row.summary.endswith(".")
    assert len(row.summary) <= 80
    assert 0 < len(row.prompt) + len(row.system) <= MOST_PROMPT_CHARS
    assert "  " not in row.prompt
    assert not row.prompt.startswith(" ")


@pytest.mark.parametrize("name", [name for name in NAMES if ROWS[name].output.get("type") == "json"])
def test_the_shape_of_an_answer_is_a_schema_that_strict_providers_take(name: str) -> None:
    schema = ROWS[name].output["schema"]
    Draft202012Validator.check_schema(schema)
    objects = [each for each in _walk(schema) if each.get("type") == "object"]
    assert objects
    for each in objects:
        assert each["additionalProperties"] is False
        assert set(each["required"]) == set(each["properties"])


def _walk(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, dict):
        return [schema] + [found for value in schema.values() for found in _walk(value)]
    return []


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_of_the_inputs_takes_what_the_program_takes(name: str) -> None:
    row, schema = ROWS[name], inputs.make_schema(ROWS[name])
    Draft202012Validator.check_schema(schema)
    given = {each: _EXAMPLES[kind.removesuffix("?")] for each, kind in row.input.items()}
    given |= {each: next(iter(choices)) for each, choices in row.choices.items()}
    Draft202012Validator(schema).validate(given)
    assert inputs.check_values(name, row, given).keys() == row.input.keys()
    required = {each: given[each] for each in schema["required"]}
    Draft202012Validator(schema).validate(required)
    assert inputs.check_values(name, row, required).keys() == required.keys()
    assert not Draft202012Validator(schema).is_valid(given | {"other": 1})


_EXAMPLES: dict[str, object] = {
    "text": "Do it.",
    "path": "src/a.py",
    "paths": ["src/a.py"],
    "files": {"src/a.py": "pass\n"},
    "phase": {"name": "One", "description": "First.", "files": [{"path": "a.py", "purpose": "All."}]},
    "phases": [],
    "issues": [{"path": "a.py", "line": 1, "severity": "error", "message": "Wrong."}],
    "image": {"data": "iVBORw0KGgo=", "media_type": "image/png"},
}


def test_what_one_task_answers_the_next_one_takes() -> None:
    phase = {"name": "x", "description": "x", "files": [{"path": "a", "purpose": "x"}], "is_last_phase": True}
    Draft202012Validator(ROWS["design_phase"].output["schema"]).validate(phase)
    assert msgspec.to_builtins(msgspec.convert(phase, DesignPhase)) == phase
    issue = {"path": "a", "line": None, "severity": "error", "message": "x"}
    Draft202012Validator(ROWS["code_review"].output["schema"]).validate({"issues": [issue]})
    assert msgspec.to_builtins(msgspec.convert(issue, Issue)) == issue
