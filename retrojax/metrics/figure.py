"""A figure: what it is called, how it is written, where it should lie; and tables of figures."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.table import Table

# How a goal that is met, missed or absent is written.
MARKS = MappingProxyType({True: (" \u2713", "green"), False: (" \u2717", "red"), None: ("  ", "")})


class Figure(NamedTuple):
    """What a figure is called, how it is written, and where it should lie (None = no bound)."""

    label: str
    digits: int
    low: float | None = None
    high: float | None = None

    @property
    def goal(self) -> str:
        """The wanted range in words; empty when the figure has no goal."""
        if self.low is None and self.high is None:
            return ""
        if self.low is None:
            return f"\u2264 {self.high:g}"
        if self.high is None:
            return f"\u2265 {self.low:g}"
        if self.low == -self.high:
            return f"\u00b1 {self.high:g}"
        return f"{self.low:g} to {self.high:g}"

    def met(self, value: float) -> bool | None:
        """Whether the value lies in the wanted range; None without a goal or a value."""
        if not self.goal or math.isnan(value):
            return None
        above = self.low is None or value >= self.low
        return above and (self.high is None or value <= self.high)

    def text(self, value: float) -> str:
        """The value as written in tables; a dash where there is none."""
        return "\u2013" if math.isnan(value) else f"{value:.{self.digits}f}"


def figures_table(
    known: Mapping[str, Figure], systems: Mapping[str, Mapping[str, float]], *, title: str = ""
) -> "Table":
    """A rich table: one row a figure, one column a system, with the goals and whether they are met.

    Args:
        known: The figures in the order of rows; others are left out.
        systems: Figures by the name of the system (or of the photograph), in the order of columns.
        title: Written above the table.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, box=SIMPLE_HEAD, padding=0)
    # rich drops columns that do not fit at all: these widths let four systems fit 64 columns with
    # wrapped labels, and 80 with whole ones.
    table.add_column("figure", min_width=12)
    table.add_column("goal", justify="right", no_wrap=True)
    for name in systems:
        table.add_column(name, justify="right", min_width=7, max_width=9, overflow="fold")
    for key, figure in known.items():
        if not any(key in figures for figures in systems.values()):
            continue
        cells = []
        for figures in systems.values():
            value = figures.get(key, math.nan)
            met = figure.met(value)
            mark, style = MARKS[met]
            cells.append(Text(figure.text(value) + mark, style=style))
        table.add_row(figure.label, figure.goal, *cells)
    return table
