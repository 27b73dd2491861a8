"""Decodes values that strict decoding refuses, as the encoders of many languages write them. [pure]

They write null for a field that is not set, and `[]` for an object without keys. Both are accepted. Fields that do not
exist are left out and named. Only lines that strict decoding has refused come here.
"""

import re
from functools import cache
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import inspect

T = TypeVar("T", bound=msgspec.Struct)

_NULL_OR_EMPTY = re.compile(rb"null|\[[ \t]*\]")
_PLAIN_KEY = re.compile(r"[\w$@-]{1,64}", re.ASCII)


class _Place(NamedTuple):
    """A step of a path. The text of the path is made only if it is shown."""

    parent: "_Place | None"
    step: str | int

    def __str__(self) -> str:
        before = "" if self.parent is None else str(self.parent)
        if isinstance(self.step, int):
            return f"{before}[{self.step}]"
        return f"{before}.{self.step if _PLAIN_KEY.fullmatch(self.step) else '…'}".removeprefix(".")


def may_help(raw: bytes | msgspec.Raw, error: msgspec.ValidationError) -> bool:
    """Return whether `convert_params` may accept *raw*, which strict decoding has refused with *error*."""
    return "unknown field" in str(error) or _NULL_OR_EMPTY.search(memoryview(raw)) is not None


def convert_params(raw: bytes | msgspec.Raw, kind: type[T], unknown: list[str]) -> T:
    """Return the JSON *raw* as a struct of *kind*, and add the paths of unknown fields to *unknown*.

    A null means that an optional field, or *raw* itself, is absent. `[]` is taken for an empty object.

    Raises: msgspec.ValidationError.
    """
    value = msgspec.json.decode(raw, type=dict[str, msgspec.Raw] | list[msgspec.Raw] | None)
    if not isinstance(value, dict):
        return msgspec.convert(value or {}, kind)
    # Only the fields that are wrong are converted value by value: a conversation may be long.
    taken = {key: _decode_field(kind, key, item, unknown) for key, item in value.items()}
    good = {key: each for key, each in taken.items() if each is not _WRONG}
    wrong = {key: msgspec.json.decode(value[key]) for key, each in taken.items() if each is _WRONG}
    tidied = _tidy_object(wrong, kind, _Place(None, "params"), unknown)
    return msgspec.convert(good | tidied, kind)


_WRONG = object()


def _decode_field(kind: type[msgspec.Struct], key: str, raw: msgspec.Raw, unknown: list[str]) -> object:
    decoder = _find_decoders(kind).get(key)
    try:
        return decoder.decode(raw) if decoder else _WRONG
    except msgspec.ValidationError:
        return _decode_items(kind, key, raw, unknown)


def _decode_items(kind: type[msgspec.Struct], key: str, raw: msgspec.Raw, unknown: list[str]) -> object:
    """Return the list *raw*, decoded entry by entry: of 100,000 messages only a few may need conversion."""
    found = _find_item_decoder(kind, key)
    if found is None or bytes(memoryview(raw)[:1]) != b"[":
        return _WRONG
    (decoder, item_kind), items = found, msgspec.json.decode(raw, type=list[msgspec.Raw])
    place = _Place(_Place(None, "params"), key)
    return [_decode_item(decoder, item_kind, each, _Place(place, at), unknown) for at, each in enumerate(items)]


def _decode_item(
    decoder: msgspec.json.Decoder[Any], kind: type[msgspec.Struct], raw: msgspec.Raw, place: _Place, unknown: list[str]
) -> object:
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError:
        value = msgspec.json.decode(raw)
    tidied = _tidy_object(value, kind, place, unknown) if isinstance(value, dict) else value
    try:
        return msgspec.convert(tidied, kind)
    except msgspec.ValidationError:
        # The conversion of the whole will refuse it, and name its path.
        return tidied


@cache
def _find_item_decoder(
    kind: type[msgspec.Struct], key: str
) -> tuple[msgspec.json.Decoder[Any], type[msgspec.Struct]] | None:
    """Return the decoder and the type of the entries of a list of structs, None for any other field."""
    found = _list_fields(kind)[key].type
    kinds = found.types if isinstance(found, inspect.UnionType) else (found,)
    items = [each.item_type for each in kinds if isinstance(each, inspect.ListType)]
    if not items or not isinstance(items[0], inspect.StructType):
        return None
    return msgspec.json.Decoder(items[0].cls), items[0].cls


@cache
def _find_decoders(kind: type[msgspec.Struct]) -> dict[str, msgspec.json.Decoder[Any]]:
    return {field.encode_name: msgspec.json.Decoder(field.type) for field in msgspec.structs.fields(kind)}


def find_unknown_keys(line: bytes, kind: type[msgspec.Struct]) -> list[str]:
    """Return the keys of the JSON object *line* that are not fields of *kind*."""
    known = kind.__struct_fields__
    fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    return [str(_Place(None, key)) for key, value in fields.items() if key not in known and bytes(value) != b"null"]


def _tidy(value: object, kind: inspect.Type, place: _Place, unknown: list[str]) -> object:
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    if isinstance(value, list):
        return _tidy_list(value, kinds, place, unknown)
    if isinstance(value, dict):
        for each in kinds:
            if isinstance(each, inspect.StructType) and each.tag == (each.tag_field and value.get(each.tag_field)):
                return _tidy_object(value, each.cls, place, unknown)
            if isinstance(each, inspect.DictType) and not isinstance(each.value_type, inspect.AnyType):
                return {key: _tidy(item, each.value_type, _Place(place, key), unknown) for key, item in value.items()}
    return value


def _tidy_list(value: list[Any], kinds: tuple[inspect.Type, ...], place: _Place, unknown: list[str]) -> object:
    for each in kinds:
        if isinstance(each, inspect.ListType):
            item_type = each.item_type
            return [_tidy(item, item_type, _Place(place, index), unknown) for index, item in enumerate(value)]
    takes_object = any(isinstance(each, inspect.StructType | inspect.DictType) for each in kinds)
    return {} if takes_object and not value else value


def _tidy_object(
    value: dict[str, Any], kind: type[msgspec.Struct], place: _Place, unknown: list[str]
) -> dict[str, Any]:
    fields = _list_fields(kind)
    tidied = {}
    for key, item in value.items():
        field = fields.get(key)
        if field is None:
            if key == kind.__struct_config__.tag_field:
                tidied[key] = item
            elif item is not None:
                unknown.append(str(_Place(place, key)))
        elif item is not None or field.required:
            tidied[key] = _tidy(item, field.type, _Place(place, key), unknown)
    return tidied


@cache
def _list_fields(cls: type[msgspec.Struct]) -> dict[str, inspect.Field]:
    kind = inspect.type_info(cls)
    return {field.encode_name: field for field in kind.fields} if isinstance(kind, inspect.StructType) else {}
