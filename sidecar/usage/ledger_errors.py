"""Why the ledger's file cannot be used, for people and for programs. [pure]"""

from protocol.replies import Warn
from sidecar.core.errors import SidecarError

ELSEWHERE = "Move it away, or set SIDECAR_LEDGER to another file."

HINTS = {
    "busy": "Another process is writing to the file.",
    "cantopen": "The file cannot be opened.",
    "corrupt": f"The file is damaged. {ELSEWHERE}",
    "file": "The file or its folder cannot be made or opened.",
    "foreign": f"The file is the database of another program. {ELSEWHERE}",
    "full": "The disk is full.",
    "ioerr": "The disk reports an error.",
    "link": f"The file is a link. {ELSEWHERE}",
    "no_memory": "There is too little memory.",
    "no_sqlite": "This Python comes without SQLite.",
    "notadb": f"The file is not an SQLite database. {ELSEWHERE}",
    "permission": "The user may not read or write the file or its folder.",
    "readonly": "The file cannot be written.",
}
"""Reason → what is wrong, and what to do about it."""

NEWER = "newer"


class LedgerError(Exception):
    """The file cannot be used. The text is the reason, in one word; `hint` says it in a sentence."""

    def __init__(self, reason: str, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint or HINTS.get(reason, f"SQLite reports `{reason}`.")

    def to_warning(self) -> Warn:
        """Return what to tell the host, once."""
        return Warn(
            code="ledger_newer" if self.reason == NEWER else "ledger_unusable",
            message=f"The ledger cannot be used: {self.hint} Chats go on; their rows wait in memory.",
        )

    def to_refusal(self) -> SidecarError:
        """Return the failure of a request that needs the file."""
        reason = "ledger_newer" if self.reason == NEWER else "ledger_unusable"
        return SidecarError("internal_error", "The ledger cannot be used.", reason=reason, hint=self.hint)


class NewerError(LedgerError):
    """A newer program has changed the file's tables: its version is *version*, the newest that we know *known*."""

    def __init__(self, version: int, known: int) -> None:
        hint = (
            f"Its file has version {version}, and this program knows versions up to {known}. The file stays as it is. "
            "Use a newer program, or set SIDECAR_LEDGER to another file."
        )
        super().__init__(NEWER, hint)
        self.version = version
