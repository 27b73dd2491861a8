"""Rows as a table that fits the terminal, and bars.

The only module that imports rich. A pipe gets the same columns, with no colour and nothing cut.
"""

import io
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sidecar.cli.terminal import Terminal, escape_controls

BAR_CELLS = 24

NARROW_COLUMNS = 60
"""A narrower terminal gets a row's cells below each other: a table would be wrapped beyond recognition."""

_EIGHTHS = " ▏▎▍▌▋▊▉"


class Column(NamedTuple):
    """A column of a table."""

    title: str
    align: Literal["left", "right"] = "left"
    styles: Mapping[str, str] = MappingProxyType({})
    """Text of a cell → its colour."""
    keeps_width: bool = False
    """Whether its cells are not wrapped."""


def draw_table(terminal: Terminal, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """Return *rows* of text under their *columns*, as wide as the terminal at most."""
    if terminal.columns < NARROW_COLUMNS:
        return "".join(_stack(columns, row) for row in rows)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.title, justify=column.align, no_wrap=column.keeps_width, overflow="fold")
    for row in rows:
        cells = zip(columns, row, strict=True)
        table.add_row(*(Text(escape_controls(cell), style=column.styles.get(cell, "")) for column, cell in cells))
    out = io.StringIO()
    console = Console(
        file=out,
        width=terminal.columns,
        force_terminal=terminal.is_output,
        no_color=not terminal.has_colour,
        color_system="standard" if terminal.has_colour else None,
        markup=False,
        highlight=False,
        emoji=False,
    )
    console.print(table)
    # A pipe's table is as wide as its widest row, and its lines end with their text.
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _stack(columns: Sequence[Column], row: Sequence[str]) -> str:
    width = max(len(column.title) for column in columns[1:])
    named = (f"  {column.title:{width}} {cell}" for column, cell in zip(columns[1:], row[1:], strict=True) if cell)
    return "".join(f"{escape_controls(line)}\n" for line in (row[0], *named))


def draw_bar(value: float, largest: float, cells: int = BAR_CELLS) -> str:
    """Return a bar for *value*, *cells* long for the *largest*. What is more than nothing is seen."""
    if value <= 0 or largest <= 0:
        return ""
    eighths = max(1, round(value / largest * cells * 8))
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")
