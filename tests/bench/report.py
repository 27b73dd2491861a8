"""Figures beside what they are compared with, and whether they keep their bars."""

from collections.abc import Iterator
from statistics import quantiles

import msgspec

from tests.bench.processes import EndedError


class Bar(msgspec.Struct, frozen=True):
    """The most that a figure may be: so many units, or so many times the reference *of*."""

    limit: float
    of: str | None = None


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One thing measured. `beside` holds references in the same unit."""

    what: str
    value: float
    unit: str
    beside: dict[str, float] = {}
    bars: tuple[Bar, ...] = ()
    note: str = ""

    def keeps(self, bar: Bar) -> bool:
        """Return whether the figure is within *bar*."""
        return self.value <= bar.limit * (self.beside[bar.of] if bar.of else 1)

    @property
    def missed(self) -> bool:
        """Whether any bar is missed."""
        return not all(self.keeps(bar) for bar in self.bars)


def line(figure: Figure) -> str:
    """Return *figure* as one line of the report."""
    references = [
        f"{name} {_number(value)} ({figure.value / value:.2f}×)" if value else f"{name} {_number(value)}"
        for name, value in figure.beside.items()
    ]
    verdicts = [
        f"≤ {bar.limit:g}{f'× {bar.of}' if bar.of else f' {figure.unit}'}: {'pass' if figure.keeps(bar) else 'MISS'}"
        for bar in figure.bars
    ]
    columns = [f"{figure.what:<48} {_number(figure.value):>8} {figure.unit:<9}", *verdicts, *references, figure.note]
    return " | ".join(column for column in columns if column)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def percentile(values: list[float], percent: int) -> float:
    """Return the value that *percent* of *values* do not exceed."""
    return quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]


def attempt(what: str, figures: Iterator[Figure]) -> Iterator[Figure]:
    """Yield *figures*; a process that did not do what it was measured for is a bar missed, not the end of the run."""
    try:
        yield from figures
    except EndedError as error:
        yield Figure(what=what, value=float("inf"), unit="", bars=(Bar(0),), note=str(error))
