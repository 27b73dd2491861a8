"""What the kit and a driver say to each other: the operations and reports of `protocol/KIT.md`."""

from typing import Any

import msgspec

from protocol.values import Id


class Start(msgspec.Struct, frozen=True, tag_field="op", tag="start", forbid_unknown_fields=True):
    """Spawn the sidecar and initialize it."""


class Request(
    msgspec.Struct,
    frozen=True,
    tag_field="op",
    tag="request",
    forbid_unknown_fields=True,
    omit_defaults=True,
    kw_only=True,
):
    """Send a request."""

    id: Id
    action: str
    provider: str | None = None
    params: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    deadline_ms: int | None = None


class Cancel(msgspec.Struct, frozen=True, tag_field="op", tag="cancel", forbid_unknown_fields=True):
    """Cancel a request."""

    id: Id


class Close(msgspec.Struct, frozen=True, tag_field="op", tag="close", forbid_unknown_fields=True):
    """End the sidecar, then the driver."""


Operation = Start | Request | Cancel | Close


class Ready(msgspec.Struct, frozen=True, tag_field="event", tag="ready"):
    """The sidecar has answered `initialize`."""

    protocol_version: int


class Chunk(msgspec.Struct, frozen=True, tag_field="event", tag="chunk"):
    """A streamed line that is not the last one."""

    id: Id
    data: dict[str, Any]


class Done(msgspec.Struct, frozen=True, tag_field="event", tag="done"):
    """The request has ended with success."""

    id: Id
    data: dict[str, Any]


class ErrorBody(msgspec.Struct, frozen=True):
    """The `error` of a report, as far as the kit must know it."""

    code: str


class Error(msgspec.Struct, frozen=True, tag_field="event", tag="error"):
    """The request has ended with a failure."""

    id: Id
    error: ErrorBody


class Unsolicited(msgspec.Struct, frozen=True, tag_field="event", tag="unsolicited"):
    """A line that belongs to no request."""

    data: dict[str, Any]


class Exit(msgspec.Struct, frozen=True, tag_field="event", tag="exit"):
    """The sidecar has ended."""

    code: int | None
    restarting: bool
    stderr: str = ""


class Refused(msgspec.Struct, frozen=True, tag_field="event", tag="refused"):
    """The sidecar cannot be used."""

    reason: str


Report = Ready | Chunk | Done | Error | Unsolicited | Exit | Refused
