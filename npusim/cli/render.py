"""Tables and sentences of the report layer → a terminal of any width, with or without colour."""

import os
import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from npusim.report.summary import Summary, Table

WIDTH_WITHOUT_TERMINAL = 120
ROOMY_WIDTH = 80
FIRST_COLUMN_WIDTH = 10  # at least, where a narrow terminal makes names fold


def console() -> Console:
    """Standard output; wide when it is a file or a pipe and COLUMNS does not say otherwise."""
    plain = not sys.stdout.isatty() and not os.environ.get("COLUMNS")
    return Console(highlight=False, width=WIDTH_WITHOUT_TERMINAL if plain else None)


def print_summary(screen: Console, summary: Summary) -> None:
    """The sentence first, then the tables, the notes, and whatever was not conserved."""
    screen.print(summary.sentence, style="bold", markup=False)
    for table in summary.tables:
        print_table(screen, table)
    if summary.notes:
        screen.print()
    for note in summary.notes:
        screen.print(f"- {note}", markup=False)
    for failure in summary.failed_checks:
        screen.print(f"not conserved: {failure}", style="bold red", markup=False)


def print_table(screen: Console, table: Table) -> None:
    """The first column stands to the left, the others to the right."""
    gap = 2 if screen.width >= ROOMY_WIDTH else 1
    view = RichTable(
        title=escape(table.title),
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, gap, 0, 0),
    )
    for index, name in enumerate(table.columns):
        if index:
            view.add_column(escape(name), justify="right", no_wrap=True)
        else:
            view.add_column(escape(name), overflow="fold", min_width=FIRST_COLUMN_WIDTH)
    for row in table.rows:
        view.add_row(*(escape(cell) for cell in row))
    screen.print()
    screen.print(view)
