"""Tables and sentences of the report layer → a terminal of any width, with or without colour."""

import os
import sys
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

WIDTH_WITHOUT_TERMINAL = 120


def console() -> Console:
    """Standard output; wide when it is a file or a pipe and COLUMNS does not say otherwise."""
    plain = not sys.stdout.isatty() and not os.environ.get("COLUMNS")
    return Console(highlight=False, width=WIDTH_WITHOUT_TERMINAL if plain else None)


def print_summary(screen: Console, summary: Any) -> None:
    """The sentence first, then the tables, then the notes."""
    screen.print(summary.sentence, style="bold", markup=False)
    for table in summary.tables:
        print_table(screen, table)
    for note in summary.notes:
        screen.print(f"- {note}", markup=False)


def print_table(screen: Console, table: Any) -> None:
    """One `Table(title, columns, rows)`; numbers stand to the right."""
    view = RichTable(title=table.title, title_justify="left", box=None, pad_edge=False)
    for index, name in enumerate(table.columns):
        numeric = all(_is_number(row[index]) for row in table.rows)
        view.add_column(str(name), justify="right" if numeric else "left", overflow="fold")
    for row in table.rows:
        view.add_row(*(escape_cell(cell) for cell in row))
    screen.print()
    screen.print(view)


def escape_cell(cell: object) -> str:
    return str(cell).replace("[", r"\[")


def _is_number(cell: object) -> bool:
    text = str(cell).strip()
    return not text or text[0].isdigit() or text[:2].lstrip("+-.")[:1].isdigit() or text == "–"
