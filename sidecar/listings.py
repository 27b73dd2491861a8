"""The shapes of providers' lists of models: where to ask and how to read the answer. [pure]

One row a shape, named by the column `listing` of a provider's table.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from protocol.replies import ModelInfo

MAX_PAGES = 20


class Listing(NamedTuple):
    """One shape."""

    paths: tuple[str, ...]
    """Appended to the list's base address, one after the other."""
    parse: Callable[[Any, str], tuple[list[ModelInfo], str | None]]
    """Document and provider → models, and the path of the next page."""
    built_in: Callable[[str, dict[str, Any]], list[ModelInfo]] | None = None
    """Provider and settings → models, where there is nobody to ask."""


def _objects(value: Any) -> Iterable[dict[str, Any]]:
    """Yield the entries of a list that are usable; a strange one costs itself alone."""
    for each in value if isinstance(value, list) else ():
        if isinstance(each, dict) and isinstance(each.get("id"), str):
            yield each


def _openai(document: Any, provider: str) -> tuple[list[ModelInfo], str | None]:
    # Source: openai 3.52.0 types/model.py: one page; `shutdown_date` is new.
    data = document.get("data") if isinstance(document, dict) else document
    return [
        ModelInfo(
            id=each["id"],
            provider=provider,
            kind=_kind(each["id"]),
            retires_on=_date(each.get("shutdown_date")),
        )
        for each in _objects(data)
    ], None


_KINDS = (
    ("embed", "embedding"),
    ("moderation", "moderation"),
    ("whisper", "audio"),
    ("tts", "audio"),
    ("transcribe", "audio"),
    ("realtime", "audio"),
    ("dall-e", "image"),
    ("image", "image"),
    ("sora", "video"),
    ("davinci", "completion"),
    ("babbage", "completion"),
)


def _kind(model: str) -> str | None:
    """Return what a list that mixes all kinds has under this name, where the name says it."""
    return next((kind for word, kind in _KINDS if word in model), None)


def _date(value: Any) -> str | None:
    return value[:10] if isinstance(value, str) and value else None


_ANTHROPIC_CAPABILITIES = {
    "image_input": "images",
    "pdf_input": "pdf",
    "thinking": "reasoning",
    "structured_outputs": "structured",
    "citations": "citations",
    "batch": "batch",
    "code_execution": "code_execution",
}


def _anthropic(document: Any, provider: str) -> tuple[list[ModelInfo], str | None]:
    # Source: anthropic 2.11.0 types/model_info.py and pagination.py.
    document = document if isinstance(document, dict) else {}
    models = []
    for each in _objects(document.get("data")):
        given = each.get("capabilities")
        given = given if isinstance(given, dict) else {}
        capabilities: dict[str, Any] = {
            ours: bool(given[theirs].get("supported"))
            for theirs, ours in _ANTHROPIC_CAPABILITIES.items()
            if isinstance(given.get(theirs), dict)
        }
        models.append(
            ModelInfo(
                id=each["id"],
                provider=provider,
                name=each.get("display_name"),
                kind="chat",
                max_input=each.get("max_input_tokens"),
                max_output=each.get("max_tokens"),
                capabilities=capabilities or None,
                status=each.get("lifecycle"),
                retires_on=_date(each.get("retires_at")),
            )
        )
    last = document.get("last_id")
    return models, f"/v1/models?limit=1000&after_id={last}" if document.get("has_more") and last else None


LISTINGS: dict[str, Listing] = {
    "openai": Listing(("/models",), _openai),
    "anthropic": Listing(("/v1/models?limit=1000",), _anthropic),
}
