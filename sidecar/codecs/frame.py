"""Bytes → frames. [sans-IO]

A codec module offers a class `Codec` with `feed(data) -> list[Frame]`, in linear time and
with the same frames however the bytes are split; `finish()`, the frames that the end of the
stream completes; `stray`, the bytes that stood outside of any frame; and `SNIFF_DOCUMENT`.
A frame is `(event, data)`: its name, empty where the format has none, and its payload.
"""

Frame = tuple[str, bytes]
