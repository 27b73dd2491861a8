"""Gives each inline union and enumeration of the schema a name, so that every language makes one type of it. [pure]"""

from typing import Any, NamedTuple

import msgspec

Schema = dict[str, Any]
Named = dict[str, tuple[Schema, str]]
"""Name → schema and description."""

BESIDE = ("description", "default", "title")
"""What says something of a field and nothing of its type."""

NULL = {"type": "null"}


class _Names(NamedTuple):
    names: dict[bytes, str]
    """The key of each type's schema → its name."""
    named: Named
    made: Schema
    """The definitions so far."""


def name_types(defs: Schema, named: Named) -> Schema:
    """Return *defs* with references in place of inline types, and with a definition of each such type.

    The name is the one of *named* whose schema is equal, or else that of the struct and the field that have it first.
    """
    names = _Names({_key(schema): name for name, (schema, _) in named.items()}, named, {})
    structs = {name: _name_inner_types(names, schema, name, schema["description"]) for name, schema in defs.items()}
    if clashes := names.made.keys() & structs.keys():
        raise ValueError(f"two types are called {', '.join(sorted(clashes))}")
    return structs | names.made


def _name_type(names: _Names, schema: Schema, path: str, description: str) -> Schema:
    """Return *schema*, of a field at *path*, with references to the types in it, itself included."""
    beside = {key: value for key, value in schema.items() if key in BESIDE}
    bare = {key: value for key, value in schema.items() if key not in BESIDE}
    if _key(bare) in names.names:
        return _refer(names, bare, path, description) | beside
    members = [each for each in _members(bare) if each != NULL]
    if nullable := len(members) < len(_members(bare)):
        bare = members[0] if len(members) == 1 else bare | {_union(bare): members}
    named = len(bare.get("enum", ())) > 1 or len(_members(bare)) > 1
    own = (_refer if named else _name_inner_types)(names, bare, path, description)
    return ({"anyOf": [own, NULL]} if nullable else own) | beside


def _refer(names: _Names, schema: Schema, path: str, description: str) -> Schema:
    """Return a reference to the type *schema*, which is a union or an enumeration."""
    name = names.names.setdefault(_key(schema), path)
    if name not in names.made:
        own, text = names.named.get(name, (schema, ""))
        names.made[name] = {}  # The type may refer to itself.
        inner = _name_inner_types(names, own, name, text or description)
        names.made[name] = {"title": name, "description": text or description} | inner
    return {"$ref": f"#/$defs/{name}"}


def _name_inner_types(names: _Names, schema: Schema, path: str, description: str) -> Schema:
    inner = {key: value for key, value in schema.items() if key not in {"anyOf", "oneOf"}}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            inner[key] = _name_type(names, schema[key], _name_item(path), description)
    if _members(schema):
        inner[_union(schema)] = [
            _name_type(names, each, f"{path}Word" if "enum" in each else path, description) for each in _members(schema)
        ]
    if "properties" in schema:
        inner["properties"] = {
            field: _name_type(names, own, path + camel(field), own.get("description") or f"`{field}` of `{path}`.")
            for field, own in schema["properties"].items()
        }
    return inner


def camel(name: str) -> str:
    """Return *name*, whose words are joined by underscores, in camel case."""
    return "".join(word.title() for word in name.split("_"))


def strip_beside_references(schema: Any) -> Any:
    """Return *schema* with nothing beside a reference: generators make a second type of it otherwise."""
    if isinstance(schema, list):
        return [strip_beside_references(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("$ref"), str):
        return {"$ref": schema["$ref"]}
    return {key: strip_beside_references(value) for key, value in schema.items()}


def _key(schema: Schema) -> bytes:
    members = {_union(schema): _members(schema)} if _members(schema) else {}
    own = {key: value for key, value in schema.items() if key not in {"anyOf", "oneOf"}}
    return msgspec.json.encode(own | members, order="sorted")


def _members(schema: Schema) -> list[Schema]:
    members: list[Schema] = schema.get("oneOf") or schema.get("anyOf") or []
    return members


def _union(schema: Schema) -> str:
    # Exactly one member fits what has a discriminator, and generators make tagged unions of such alone.
    return "oneOf" if "discriminator" in schema else "anyOf"


def _name_item(path: str) -> str:
    return path.removesuffix("s") if path.endswith("s") and not path.endswith("ss") else f"{path}Item"
