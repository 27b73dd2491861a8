"""The tokens of a tool: its JSON, or the signature of a function that its schema is made into. [pure]"""

from typing import Any

import msgspec

from protocol.messages import Tool
from sidecar.tokens.families import Family
from sidecar.tokens.texts import Count

MAX_DEPTH = 32
"""How deep a schema is searched."""


def count_tool(tool: Tool, family: Family, count: Count) -> float:
    """Return the tokens of *tool* for a model of *family*, without the family's fixed addition for a tool."""
    if family.schema == "json":
        fields = {"name": tool.name, "description": tool.description or "", "parameters": tool.parameters}
        return count(msgspec.json.encode(fields).decode()) * family.schema_factor
    head = count(f"{tool.name}:{_strip_period(tool.description)}")
    return (head + _Signature(tool.parameters, count).count_properties(tool.parameters)) * family.schema_factor


class _Signature:
    """A schema as the signature that OpenAI's models are shown; a definition that it refers to is shown once.

    Source: openai-cookbook, "How to count tokens with tiktoken" (commit c81359c), which stops at the first level.
    """

    def __init__(self, root: dict[str, Any], count: Count) -> None:
        self._root = root
        self._count = count
        self._shown: set[str] = set()

    def count_properties(self, schema: Any, depth: int = 0) -> int:
        """Return the tokens of the properties of *schema* and of everything in them."""
        properties = schema.get("properties") if isinstance(schema, dict) else None
        if depth > MAX_DEPTH or not isinstance(properties, dict) or not properties:
            return 0
        return 3 + sum(self._count_property(name, each, depth) for name, each in properties.items())

    def _count_property(self, name: str, raw_schema: Any, depth: int) -> int:
        schema = self._resolve(raw_schema)
        line = f"{name}:{_strip_period(schema.get('type'))}:{_strip_period(schema.get('description'))}"
        tokens = 3 + self._count(line)
        if isinstance(choices := schema.get("enum"), list):
            tokens += sum(3 + self._count(str(choice)) for choice in choices) - 3
        for inner in (schema, self._resolve(schema.get("items")), *self._list_alternatives(schema)):
            tokens += self.count_properties(inner, depth + 1)
        return tokens

    def _list_alternatives(self, schema: dict[str, Any]) -> list[dict[str, Any]]:
        alternatives = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
        return [self._resolve(each) for each in alternatives] if isinstance(alternatives, list) else []

    def _resolve(self, schema: Any) -> dict[str, Any]:
        """Return *schema*, or the definition that it refers to, or {} when that was shown already."""
        if not isinstance(schema, dict):
            return {}
        path = schema.get("$ref")
        if not isinstance(path, str):
            return schema
        if path in self._shown:
            return {}
        self._shown.add(path)
        definition: Any = self._root
        for key in path.removeprefix("#/").split("/"):
            definition = definition.get(key) if isinstance(definition, dict) else None
        return definition if isinstance(definition, dict) else {}


def _strip_period(text: Any) -> str:
    return text.removesuffix(".") if isinstance(text, str) else ""
