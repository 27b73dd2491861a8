"""The lines of `list_models` for all providers: parts of their lists, failures, and a summary."""

from typing import Annotated, Literal

import msgspec

from protocol.errors import ErrorBody, ErrorCode
from protocol.replies import ModelInfo, ReplyId, Warn


class ModelsPart(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="models", kw_only=True):
    """Some models of one provider."""

    provider: str
    models: list[ModelInfo]
    more: bool = False
    """Whether another part of this provider's list follows."""
    source: Literal["provider", "cache", "stale", "built_in"]
    """As in the answer for one provider."""
    fetched_at: str
    """When the provider was asked, ISO 8601 in UTC."""
    warnings: list[Warn] = []


class ModelsFailed(msgspec.Struct, frozen=True, tag_field="type", tag="models_failed", kw_only=True):
    """The list of one provider failed. The other lists continue."""

    provider: str
    error: ErrorBody


class ListedProvider(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How the list of one provider ended."""

    provider: str
    count: Annotated[int, msgspec.Meta(ge=0)]
    """How many models it has."""
    code: ErrorCode | None = None
    """Why there is no list; absent if there is one."""


class ModelsListed(msgspec.Struct, frozen=True, tag_field="type", tag="done", kw_only=True):
    """The end of the lists."""

    lists: list[ListedProvider]
    """A row for every provider that was ready, ordered by its id."""
    count: Annotated[int, msgspec.Meta(ge=0)]
    """How many models there are in all."""
    catalogue_refreshed_at: str | msgspec.UnsetType = msgspec.UNSET
    """When the catalogue was last refreshed, ISO 8601 in UTC; absent if never."""
    warnings: list[Warn] = []


ListChunk = ModelsPart | ModelsFailed | ModelsListed


class StreamedList(msgspec.Struct, frozen=True):
    """One line of the lists of all providers."""

    id: ReplyId
    success: Literal[True]
    streaming: Literal[True]
    seq: int
    data: ListChunk
