"""Bytes to lines, cut at the byte LF alone. [sans-IO]

The played sidecar imports this module, so it needs nothing but Python itself.
"""


class LineCutter:
    """Takes bytes in any pieces, gives whole lines without their LF; each byte is copied once."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that *data* has ended."""
        *ended, rest = data.split(b"\n")
        if not ended:
            self._rest.append(rest)
            return []
        first = b"".join([*self._rest, ended[0]])
        self._rest = [rest]
        return [first, *ended[1:]]

    def end(self) -> bytes:
        """Return what follows the last LF."""
        return b"".join(self._rest)
