"""The types of the protocol as one table that knows no language, read from the schema. [pure]

A type is what a field holds: a `Scalar`, a `Constant`, a `Ref` to a type with a name, or a list, a map or a nullable of
these. What has a name is a struct, an enumeration, a `Tagged` union, whose field `tag` tells its members apart, or a
`Mixed` union, whose members differ in their type of JSON.
"""

from typing import Any, Literal, NamedTuple

Schema = dict[str, Any]

REFERENCE = "#/$defs/"

# --- what a field holds ----------------------------------------------------------------------


class Scalar(NamedTuple):
    """A string, an integer of 64 bits, a number, true or false, or any JSON."""

    kind: Literal["string", "integer", "number", "boolean", "any"]


class Constant(NamedTuple):
    """The one value that is possible: a string, or true, or false."""

    value: str | bool


class Ref(NamedTuple):
    """A type with a name."""

    name: str


class ListOf(NamedTuple):
    """A list."""

    item: "Type"


class MapOf(NamedTuple):
    """An object with arbitrary keys."""

    value: "Type"


class Nullable(NamedTuple):
    """The type, or null. A field has `nullable` instead."""

    type: "Type"


Type = Scalar | Constant | Ref | ListOf | MapOf | Nullable

ANY = Scalar("any")

# --- what has a name -------------------------------------------------------------------------


class Field(NamedTuple):
    """A field of a struct."""

    name: str
    type: Type
    required: bool
    """Whether it is always present. A host leaves out what it does not set."""
    nullable: bool
    """Whether it may be null. In a request, null means absent."""
    default: Any
    """What an absent field stands for; None if that is unknown, or nothing."""
    doc: str


class Struct(NamedTuple):
    """An object whose keys are known. It may come with more, which a host ignores."""

    name: str
    doc: str
    fields: tuple[Field, ...]
    """In the order of the source; the `tag` is among them, a `Constant`."""
    tag: str | None
    """The field that tells it from the other members of its unions."""
    sent: bool
    """Whether a host writes it."""
    received: bool
    """Whether the sidecar writes it."""
    envelope: bool
    """Whether it is a whole line, which the runtime of a client makes or takes apart."""


class Enumeration(NamedTuple):
    """One of several words. Of what the sidecar writes, a host takes a word that it does not know."""

    name: str
    doc: str
    values: tuple[str, ...]
    received: bool
    """As in `Struct`: whether there may be words that are not listed."""


class Tagged(NamedTuple):
    """One of several structs; its field `tag` says which. A host skips one whose tag it does not know."""

    name: str
    doc: str
    tag: str
    members: tuple[tuple[str, str], ...]
    """The value of the tag, and the name of the struct."""
    envelope: bool


class Mixed(NamedTuple):
    """One of several types that differ in their type of JSON."""

    name: str
    doc: str
    members: tuple[Type, ...]
    """Never a `Nullable`."""
    nullable: bool
    envelope: bool


Named = Struct | Enumeration | Tagged | Mixed


class Action(NamedTuple):
    """An action, with the names of its types."""

    name: str
    doc: str
    params: str
    params_required: bool
    """Whether a request has to have `params`."""
    answer: str | None
    """The `data` of its one reply line; None if it always streams."""
    chunk: str | None
    """The `data` of the lines of its stream, the last one included; None if it never streams."""
    done: str | None
    """The `data` of the last line of its stream."""


class Table(NamedTuple):
    """All types by their names, in the order of these, and all actions in the order of the protocol."""

    version: int
    types: dict[str, Named]
    actions: tuple[Action, ...]

    def bodies(self) -> list[Named]:
        """Return the types of what lines carry: all but those of whole lines."""
        return [each for each in self.types.values() if isinstance(each, Enumeration) or not each.envelope]


# --- reading ---------------------------------------------------------------------------------

REPLIES = ("reply", "stream")
"""The keys of `x-actions` that name whole lines of the sidecar's."""


def read_table(version: int, actions: dict[str, dict[str, str]], defs: Schema) -> Table:
    """Return the table of the definitions *defs*, which have no type inline, and of *actions*, the `x-actions`."""
    replies = {
        path.removeprefix(REFERENCE) for each in actions.values() for key, path in each.items() if key in REPLIES
    }
    sent, received = _reach(defs, {"Request"}), _reach(defs, {"Line", *replies})
    lines = {"Request", "Line", "SomeChunk", *_list_members(defs["Request"]), *_list_members(defs["Line"]), *replies}
    types = {
        name: _read_named(schema, sent=name in sent, received=name in received, envelope=name in lines)
        for name, schema in sorted(defs.items())
    }
    return Table(version, types, tuple(_read_action(name, each, defs) for name, each in actions.items()))


def _read_action(name: str, types: dict[str, str], defs: Schema) -> Action:
    names = {key: path.removeprefix(REFERENCE) for key, path in types.items()}
    request = defs[defs["Request"]["discriminator"]["mapping"][name].removeprefix(REFERENCE)]
    return Action(
        name=name,
        doc=defs[names["params"]]["description"],
        params=names["params"],
        params_required="params" in request["required"],
        answer=names.get("answer"),
        chunk=names.get("chunk"),
        done=names.get("done"),
    )


def _read_named(schema: Schema, *, sent: bool, received: bool, envelope: bool) -> Named:
    name, doc = schema["title"], schema["description"]
    if "enum" in schema:
        return Enumeration(name, doc, tuple(schema["enum"]), received)
    if "discriminator" in schema:
        mapping = schema["discriminator"]["mapping"].items()
        members = tuple((value, path.removeprefix(REFERENCE)) for value, path in mapping)
        return Tagged(name, doc, schema["discriminator"]["propertyName"], members, envelope)
    if "anyOf" in schema or "oneOf" in schema:
        own = schema.get("anyOf", []) + schema.get("oneOf", [])
        types = [_read_type(each) for each in own if each != {"type": "null"}]
        return Mixed(name, doc, tuple(types), len(types) < len(own), envelope)
    required = schema.get("required", ())
    fields = tuple(_read_field(field, own, required=field in required) for field, own in schema["properties"].items())
    tag = next((each.name for each in fields if each.name == "type" and isinstance(each.type, Constant)), None)
    return Struct(name, doc, fields, tag, sent, received, envelope)


def _read_field(name: str, schema: Schema, *, required: bool) -> Field:
    read = _read_type(schema)
    nullable = isinstance(read, Nullable)
    own = read.type if isinstance(read, Nullable) else read
    return Field(name, own, required, nullable, schema.get("default"), schema.get("description", ""))


def _read_type(schema: Schema) -> Type:
    match schema:
        case {"$ref": str(path)}:
            return Ref(path.removeprefix(REFERENCE))
        case {"anyOf": [own, {"type": "null"}]}:
            return Nullable(_read_type(own))
        case {"enum": [value]}:
            return Constant(value)
        case {"type": str(kind)}:
            return _read_json_type(kind, schema)
        case {"anyOf": _} | {"oneOf": _} | {"enum": _}:
            raise ValueError(f"a type without a name: {schema}")
    return ANY


def _read_json_type(kind: str, schema: Schema) -> Type:
    match kind:
        case "array":
            return ListOf(_read_type(schema.get("items", {})))
        case "object":
            values = schema.get("additionalProperties", {})
            return MapOf(_read_type(values) if isinstance(values, dict) else ANY)
        case "string" | "integer" | "number" | "boolean":
            return Scalar(kind)
    raise ValueError(f"a type that the table does not know: {kind}")


def _list_members(schema: Schema) -> list[str]:
    members = schema.get("anyOf", []) + schema.get("oneOf", [])
    return [each["$ref"].removeprefix(REFERENCE) for each in members if "$ref" in each]


def _reach(defs: Schema, roots: set[str]) -> set[str]:
    """Return the names of all types that *roots* contain, themselves included."""
    reached, pending = set[str](), roots
    while pending:
        reached |= pending
        pending = {name for each in pending for name in _list_references(defs[each])} - reached
    return reached


def _list_references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [name for each in schema for name in _list_references(each)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"].removeprefix(REFERENCE)] if isinstance(schema.get("$ref"), str) else []
    return own + [name for each in schema.values() for name in _list_references(each)]
