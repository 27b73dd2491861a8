"""Generates `schema.json` (JSON Schema 2020-12) from the structs, and with it the types of the clients.

`python -m protocol.schema` writes all of them, and `--check` compares. The schema is one document: `$defs` has every
request by its action, every reply line, chunk and error, and their parts; the root accepts any line in either
direction, and leads generators to every type. This is a development tool; the program never imports it.
"""

import ast
import gc
import importlib
import json
import sys
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from protocol.compare import BranchRow, CompareChunk, StreamedCompare
from protocol.completion import CompletionChunk, StreamedCompletion
from protocol.embeddings import EmbedChunk, StreamedVectors
from protocol.emitters.files import render_files
from protocol.emitters.names import camel, name_types, strip_beside_references
from protocol.emitters.types import REPLIES, read_table
from protocol.errors import ErrorCode
from protocol.logins import LoginChunk, StreamedLogin
from protocol.messages import FinishReason, Message, Part, Usage
from protocol.model_streams import ListChunk, StreamedList
from protocol.replies import PROTOCOL_VERSION, AnswerChunk, Chunk, Event, Failed, ReplyId, Streamed
from protocol.requests import PARAMS
from protocol.results import ANSWERS, Answer, Cost
from protocol.values import Id, Provider, TimeoutMs

PATH = Path(__file__).parent / "schema.json"

STREAMS = {
    "stream_chat": ("Chunk", "Done"),
    "resume": ("Chunk", "Done"),
    "compare": ("CompareChunk", "CompareDone"),
    "stream_complete": ("CompletionChunk", "CompletionDone"),
    "authenticate": ("LoginChunk", "LoggedIn"),
    "list_models": ("ListChunk", "ModelsListed"),
    "embed": ("EmbedChunk", "Embedded"),
}
"""The actions that are answered by a stream, with the definitions of its chunks and of the last one. `authenticate` is
here for its `login`, `list_models` for all providers together, `compare` unless `stream` is false; these are in
`ANSWERS` for the rest."""

BRANCH = {"type": "integer", "description": "In the stream of `compare`: the number of the branch, from 0."}
"""A field of every chunk of an answer. No struct has it: it is written beside what the branch sends."""

OPEN_FIELDS: dict[tuple[str, str], Any] = {
    ("Attempt", "cost"): Cost | None,
    ("Done", "cost"): Cost,
    ("Round", "cost"): Cost,
    ("Original", "cost"): Cost,
    ("ErrorBody", "cost"): Cost | None,
    ("ErrorBody", "usage"): Usage | None,
    ("ErrorBody", "branches"): list[BranchRow] | None,
    ("BranchDone", "cost"): Cost,
    ("Completed", "cost"): Cost,
    ("CompletionDone", "cost"): Cost,
    ("Embedded", "cost"): Cost,
    ("Vectors", "vectors"): list[list[float] | str],
    ("BranchRow", "answer"): Answer | None,
}
"""Fields that the structs leave open because the program builds their values as plain objects."""

NAMED: dict[str, tuple[Any, str]] = {
    "Id": (Id, "The id that a host gives a request."),
    "ReplyId": (ReplyId, "The id of the request that a line belongs to; null if its line could not be read."),
    "Role": (Message.__annotations__["role"], "Who speaks."),
    "FinishReason": (FinishReason, "Why an answer ended."),
    "ErrorCode": (ErrorCode, "What the host or the user can do about a failure."),
    "Part": (Part, "A part of a message."),
    "CompletionChunk": (CompletionChunk, "The `data` of a line of a completion's stream."),
    "CompareChunk": (CompareChunk, "The `data` of a line of the stream of `compare`."),
    "Chunk": (Chunk, "The `data` of a line of a chat's stream."),
    "LoginChunk": (LoginChunk, "The `data` of a line of a login's stream."),
    "ListChunk": (ListChunk, "The `data` of a line of the lists of all providers."),
    "EmbedChunk": (EmbedChunk, "The `data` of a line of the stream of `embed`."),
}
"""Types that are no structs, and what to say of them. Every other union and enumeration is named after its alias in
the modules of `protocol/`, or after the field that has it, and described by the string below it."""

# --- the document ----------------------------------------------------------------------------


def build(types: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of *types*."""
    actions = {action: _map_action(action, types) for action in PARAMS}
    lines = {path for each in actions.values() for key, path in each.items() if key in REPLIES}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:sidecar:protocol:{PROTOCOL_VERSION}",
        "title": f"The sidecar's protocol, version {PROTOCOL_VERSION}",
        "description": "Generated from protocol/*.py by `make schema`. A host ignores fields that it does not know.",
        "anyOf": [{"$ref": path} for path in ("#/$defs/Request", "#/$defs/Line", *sorted(lines))],
        "x-actions": actions,
        "$defs": strip_beside_references(types),
    }


def build_types() -> dict[str, Any]:
    """Return every type by its name, with the description and default of each field, also beside references."""
    requests = {f"{camel(action)}Request": _make_request(action, params) for action, params in PARAMS.items()}
    replies = {f"{camel(action)}Reply": _make_reply(action, data) for action, data in ANSWERS.items()}
    streams = (Streamed, StreamedCompare, StreamedCompletion, StreamedLogin, StreamedList, StreamedVectors)
    lines = {each.__name__: each for each in (*streams, Failed, Event)} | replies
    kinds = [*requests.values(), *lines.values(), *OPEN_FIELDS.values()]
    schemas, defs = msgspec.json.schema_components(kinds)
    for (struct, field), schema in zip(OPEN_FIELDS, schemas[-len(OPEN_FIELDS) :], strict=True):
        defs[struct]["properties"][field] |= schema
    for chunk in get_args(AnswerChunk):
        defs[chunk.__name__]["properties"]["branch"] = dict(BRANCH)
    _describe(defs)
    named = name_types(dict(sorted(defs.items())), _list_named())
    named["Action"] = {"title": "Action", "description": "What a request asks for.", "enum": sorted(PARAMS)}
    named["Request"] = _make_request_line(requests)
    return dict(sorted((named | _make_line()).items()))


def _list_named() -> dict[str, tuple[dict[str, Any], str]]:
    """Return name → schema and description of every union and enumeration that has a name in `protocol/`."""
    aliases = dict(NAMED)
    for name, (alias, text) in _list_aliases().items():
        aliases.setdefault(name, (alias, text))
    schemas, _ = msgspec.json.schema_components([alias for alias, _ in aliases.values()])
    return {name: (schema, aliases[name][1]) for name, schema in zip(aliases, schemas, strict=True)}


def _list_aliases() -> dict[str, tuple[Any, str]]:
    """Return name → type and the string below it, of the modules of `protocol/`."""
    found: dict[str, tuple[Any, str]] = {}
    for file in _list_modules():
        docs = dict(_list_documented(ast.parse(file.read_bytes()).body))
        for name, value in vars(importlib.import_module(f"protocol.{file.stem}")).items():
            if name[0].isupper() and get_origin(value) in {Literal, Union, UnionType}:
                found[name] = (value, docs.get(name) or found.get(name, (None, ""))[1])
    return found


def _list_modules() -> list[Path]:
    return [file for file in sorted(Path(__file__).parent.glob("*.py")) if file.stem not in {"__init__", "schema"}]


def _make_request(action: str, params: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """Return the envelope with the parameters of *action*; `params` may be absent if none of them is required."""
    literal: Any = Literal
    required = hasattr(params, "__post_init__") or any(field.required for field in msgspec.structs.fields(params))
    return msgspec.defstruct(
        f"{camel(action)}Request",
        [
            ("id", Id | msgspec.UnsetType, msgspec.UNSET),
            ("action", literal[action]),
            ("provider", Provider | None, None),
            ("params", params) if required else ("params", params | msgspec.UnsetType, msgspec.UNSET),
            ("timeout", TimeoutMs | None, None),
        ],
        namespace={"__doc__": f"The request `{action}`."},
        kw_only=True,
    )


def _make_reply(action: str, data: Any) -> type[msgspec.Struct]:
    return msgspec.defstruct(
        f"{camel(action)}Reply",
        [("id", ReplyId), ("success", Literal[True]), ("data", data)],
        namespace={"__doc__": f"The reply to `{action}`."},
    )


def _map_action(action: str, types: dict[str, Any]) -> dict[str, str]:
    """Return the definitions of *action*: its params, chunks, the last of these and its answer; then whole lines."""
    mapped = {"params": PARAMS[action].__name__, "request": f"{camel(action)}Request"}
    if action in STREAMS:
        chunk, done = STREAMS[action]
        data = {"$ref": f"#/$defs/{chunk}"}
        line = next(name for name, each in types.items() if each.get("properties", {}).get("data") == data)
        mapped |= {"chunk": chunk, "done": done, "stream": line}
    if action in ANSWERS:
        mapped |= {"answer": ANSWERS[action].__name__, "reply": f"{camel(action)}Reply"}
    return {key: f"#/$defs/{name}" for key, name in mapped.items()}


def _make_line() -> dict[str, Any]:
    """Return the type of any line of the sidecar's, and its members, exactly one of which fits.

    Which of them a line is, it says itself; what its `data` is, the action says.
    """
    shared = {"id": {"$ref": "#/$defs/ReplyId"}, "success": {"enum": [True]}}
    chunk = _make_object("SomeChunk", "A chunk of any stream.", {"type": {"type": "string"}}, ["type"])
    stream = shared | {"streaming": {"enum": [True]}, "seq": {"type": "integer"}, "data": {"$ref": "#/$defs/SomeChunk"}}
    text = "A line of a stream; `x-actions` names the chunks of the action."
    some_stream = _make_object("SomeStreamed", text, stream, ["success", "streaming", "seq", "data"])
    text = "The one line that answers a request; `x-actions` names the answer of the action."
    some_reply = _make_object("SomeReply", text, shared | {"data": {}}, ["success", "data"])
    some_reply["not"] = {"required": ["streaming"]}
    names = ["SomeStreamed", "SomeReply", "Failed", "Event"]
    text = "Any line that the sidecar may write: `streaming`, `success` and `event` tell which it is."
    line = {"title": "Line", "description": text, "oneOf": [{"$ref": f"#/$defs/{name}"} for name in names]}
    return {"SomeChunk": chunk, "SomeStreamed": some_stream, "SomeReply": some_reply, "Line": line}


def _make_object(name: str, text: str, properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"title": name, "description": text, "type": "object", "properties": properties, "required": required}


def _make_request_line(requests: dict[str, Any]) -> dict[str, Any]:
    """Return the type of any request; `action` tells which one it is."""
    mapping = {action: f"#/$defs/{camel(action)}Request" for action in PARAMS}
    return {
        "title": "Request",
        "description": "Any line that a host may send.",
        "discriminator": {"propertyName": "action", "mapping": mapping},
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in requests],
    }


def _describe(defs: dict[str, Any]) -> None:
    """Put the docstrings of classes and the strings below fields into *defs*, each as one line."""
    docs = _read_field_docs()
    for name, schema in defs.items():
        # Both sides ignore fields that they do not know.
        schema.pop("additionalProperties", None)
        schema["description"] = " ".join(schema["description"].split())
        for field, own in schema["properties"].items():
            if text := docs.get(name, {}).get(field):
                own["description"] = text
            if not own.get("default", True) and (own.get("minLength") or own.get("minItems")):
                # The field is absent: the value that says so in the structs is no value that a host may send.
                del own["default"]
        if "id" in schema["properties"] and "success" in schema["properties"]:
            # It is absent if the request had none; the struct says so with a value that JSON does not have.
            schema["required"].remove("id")


def _read_field_docs() -> dict[str, dict[str, str]]:
    """Return class → field → the string below the field in its module, those of its base classes included."""
    trees = (ast.parse(file.read_bytes()) for file in _list_modules())
    classes = {each.name: each for tree in trees for each in tree.body if isinstance(each, ast.ClassDef)}

    def read(name: str) -> dict[str, str]:
        bases = (base.id for base in classes[name].bases if isinstance(base, ast.Name) and base.id in classes)
        inherited = [pair for base in bases for pair in read(base).items()]
        return dict(inherited) | dict(_list_documented(classes[name].body))

    return {name: read(name) for name in classes}


def _list_documented(body: list[ast.stmt]) -> list[tuple[str, str]]:
    """Return the names that are assigned or declared in *body* with a string below them, and the string as one line."""
    return [
        (name, " ".join(doc.value.value.split()))
        for assigned, doc in pairwise(body)
        if isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant) and isinstance(doc.value.value, str)
        for name in _list_assigned(assigned)
    ]


def _list_assigned(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def render() -> dict[str, str]:
    """Return path below `protocol/` → text of `schema.json` and of every file that is generated with it."""
    types = build_types()
    document = build(types)
    files = {PATH.name: json.dumps(document, indent=1, ensure_ascii=False) + "\n"}
    files |= render_files(read_table(PROTOCOL_VERSION, document["x-actions"], types))
    # The interpreter may crash at its exit when it takes apart types that msgspec 0.22 was asked to describe. What is
    # frozen it leaves alone.
    gc.freeze()
    return files


def main(arguments: list[str]) -> int:
    """Write the schema and what is generated with it or, with `--check`, report what is stale; return the exit code."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m protocol.schema [--check]", file=sys.stderr)
        return 2
    stale = []
    for name, text in render().items():
        file = PATH.parent / name
        if not arguments:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
        elif not file.exists() or file.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        print(f"{', '.join(stale)}: stale, run `make schema` and commit what it writes", file=sys.stderr)
    return min(len(stale), 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
