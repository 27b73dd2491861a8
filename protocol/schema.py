"""Generates `schema.json` (JSON Schema 2020-12) from the structs.

`python -m protocol.schema` writes it, and `--check` compares. The schema is one document: `$defs`
has every request by its action, every reply line, chunk and error, and their parts; the root
accepts any line in either direction. This is a development tool; the program never imports it.
"""

import ast
import gc
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from protocol.compare import BranchRow, CompareChunk, StreamedCompare
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
    "authenticate": ("LoginChunk", "LoggedIn"),
    "list_models": ("ListChunk", "ModelsListed"),
}
"""The actions that are answered by a stream, with the definitions of its chunks and of the last one. `authenticate` is
here for its `login`, `list_models` for all providers together, `compare` unless `stream` is false; these are in
`ANSWERS` for the rest."""

BRANCH = {"type": "integer", "description": "In the stream of `compare`: the number of the branch, from 0."}
"""A field of every chunk of an answer. No struct has it: it is written beside what the branch sends."""

OPEN_FIELDS: dict[tuple[str, str], Any] = {
    ("Done", "cost"): Cost,
    ("Round", "cost"): Cost,
    ("Original", "cost"): Cost,
    ("ErrorBody", "cost"): Cost | None,
    ("ErrorBody", "usage"): Usage | None,
    ("ErrorBody", "branches"): list[BranchRow] | None,
    ("BranchDone", "cost"): Cost,
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
    "CompareChunk": (CompareChunk, "The `data` of a line of the stream of `compare`."),
    "Chunk": (Chunk, "The `data` of a line of a chat's stream."),
    "LoginChunk": (LoginChunk, "The `data` of a line of a login's stream."),
    "ListChunk": (ListChunk, "The `data` of a line of the lists of all providers."),
}
"""Types that recur and have no struct of their own: named, so that generators make one type of each."""

# --- the document ----------------------------------------------------------------------------


def build() -> dict[str, Any]:
    """Return the schema."""
    requests = {f"{camel(action)}Request": _make_request(action, params) for action, params in PARAMS.items()}
    replies = {f"{camel(action)}Reply": _make_reply(action, data) for action, data in ANSWERS.items()}
    streams = (Streamed, StreamedCompare, StreamedLogin, StreamedList)
    lines = {each.__name__: each for each in (*streams, Failed, Event)} | replies
    kinds = [*requests.values(), *lines.values(), *(kind for kind, _ in NAMED.values()), *OPEN_FIELDS.values()]
    schemas, defs = msgspec.json.schema_components(kinds)
    for (struct, field), schema in zip(OPEN_FIELDS, schemas[-len(OPEN_FIELDS) :], strict=True):
        defs[struct]["properties"][field] |= schema
    for chunk in get_args(AnswerChunk):
        defs[chunk.__name__]["properties"]["branch"] = dict(BRANCH)
    _describe(defs)
    named = dict(zip(NAMED, schemas[len(requests) + len(lines) :], strict=False))
    defs = {name: _name_types(schema, named) for name, schema in defs.items()} | {
        name: {"description": NAMED[name][1]} | _name_inner_types(schema, named) for name, schema in named.items()
    }
    defs["Action"] = {"description": "What a request asks for.", "enum": sorted(PARAMS)}
    defs["Request"] = _make_any_of("Request", "Any line that a host may send.", requests)
    text = "Any line that the sidecar may write. Replies of unary actions differ in `data`."
    defs["Line"] = _make_any_of("Line", text, lines)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:sidecar:protocol:{PROTOCOL_VERSION}",
        "title": f"The sidecar's protocol, version {PROTOCOL_VERSION}",
        "description": "Generated from protocol/*.py by `make schema`. A host ignores fields that it does not know.",
        "anyOf": [{"$ref": "#/$defs/Request"}, {"$ref": "#/$defs/Line"}],
        "x-actions": {action: _map_action(action) for action in PARAMS},
        "$defs": dict(sorted(defs.items())),
    }


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


def camel(action: str) -> str:
    """Return *action* in camel case, as the names of its definitions begin."""
    return "".join(word.title() for word in action.split("_"))


def _map_action(action: str) -> dict[str, str]:
    """Return the definitions of *action*: its `params`, its chunks with the last one, and the `data` of its answer."""
    mapped = {"params": f"#/$defs/{PARAMS[action].__name__}"}
    if action in STREAMS:
        mapped["chunk"], mapped["done"] = (f"#/$defs/{name}" for name in STREAMS[action])
    if action in ANSWERS:
        mapped["answer"] = f"#/$defs/{ANSWERS[action].__name__}"
    return mapped


def _name_types(schema: Any, named: dict[str, Any]) -> Any:
    """Return *schema* with references to the *named* types, and with nothing beside a reference."""
    if isinstance(schema, list):
        return [_name_types(each, named) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        # Generators make a second type of it otherwise. The definition has a description of its own.
        return {"$ref": schema["$ref"]}
    bare = {key: value for key, value in schema.items() if key not in ("description", "default")}
    for name, own in named.items():
        if bare == own:
            return {"$ref": f"#/$defs/{name}"}
    return _name_inner_types(schema, named)


def _name_inner_types(schema: dict[str, Any], named: dict[str, Any]) -> dict[str, Any]:
    return {_rename(key, schema): _name_types(value, named) for key, value in schema.items()}


def _rename(key: str, schema: dict[str, Any]) -> str:
    # Exactly one member fits what has a `type`, and generators make tagged unions of such alone.
    return "oneOf" if key == "anyOf" and "discriminator" in schema else key


def _make_any_of(title: str, description: str, kinds: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "description": description, "anyOf": [{"$ref": f"#/$defs/{name}"} for name in kinds]}


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
    """Return class → field → the string below the field in its module."""
    trees = (ast.parse(file.read_bytes()) for file in sorted(Path(__file__).parent.glob("*.py")))
    classes = (node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))
    return {each.name: dict(_list_documented(each.body)) for each in classes}


def _list_documented(body: list[ast.stmt]) -> list[tuple[str, str]]:
    return [
        (field.target.id, " ".join(doc.value.value.split()))
        for field, doc in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(doc, ast.Expr)
        and isinstance(doc.value, ast.Constant)
        and isinstance(doc.value.value, str)
    ]


def render() -> str:
    """Return the text of `schema.json`."""
    text = json.dumps(build(), indent=1, ensure_ascii=False) + "\n"
    # The interpreter may crash at its exit when it takes apart types that msgspec 0.22 was asked to describe. What is
    # frozen it leaves alone.
    gc.freeze()
    return text


def main(arguments: list[str]) -> int:
    """Write the schema or, with `--check`, report whether it is fresh; return the exit code."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m protocol.schema [--check]", file=sys.stderr)
        return 2
    text = render()
    if not arguments:
        PATH.write_text(text, encoding="utf-8", newline="\n")
    elif not PATH.exists() or PATH.read_text(encoding="utf-8") != text:
        print(f"{PATH.name} is stale: run `make schema` and commit what it writes", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
