"""Bytes → frames: what all codecs have in common. [sans-IO]"""

from typing import Protocol

Frame = tuple[str, bytes]
"""The name of an event, empty where the format has none, and its payload."""


class Codec(Protocol):
    """The decoder of one stream, in linear time and with the same frames however the bytes are split."""

    SNIFF_DOCUMENT: bool
    """Whether a reply that begins like a JSON document is one, and no stream."""

    @property
    def stray(self) -> bytes:
        """The bytes so far that belong to no frame."""

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that *data* completes.

        Raises: SidecarError for bytes that cannot be a stream of this format.
        """

    def finish(self) -> list[Frame]:
        """Return the frames that the end of the stream completes."""
