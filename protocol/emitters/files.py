"""The generated files beside the schema: one module writes each. [pure]"""

from protocol.emitters import elisp, go, lua, methods, python, rust, typescript, zig
from protocol.emitters.types import Table

EMITTERS = (methods, typescript, lua, python, go, elisp, rust, zig)
"""Each has `PATH`, the path of its file below `protocol/`, and `emit`, which makes its text of the table."""


def render_files(table: Table) -> dict[str, str]:
    """Return path below `protocol/` → text of every generated file."""
    return {emitter.PATH: emitter.emit(table) for emitter in EMITTERS}
