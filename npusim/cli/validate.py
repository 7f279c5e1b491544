"""`npusim validate`: suites of comparisons → signed errors, and whether one left its band."""

import json as json_module
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from npusim.errors import pick

if TYPE_CHECKING:
    from npusim.validate.compare import Family


def validate(
    suites: Annotated[
        list[str] | None, typer.Argument(metavar="[SUITE]...", help="Default: all of them.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="All cases, not the quick ones.")] = False,
    rows: Annotated[bool, typer.Option("--rows", help="Show every comparison.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON only.")] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Keep these errors as the recorded ones.")
    ] = False,
) -> None:
    """Rerun the comparisons with references and published figures; print signed errors.

    Exits with 1 when an error is no longer the recorded one. `npusim list suite` names the suites.
    """
    from npusim.validate.bands import LEVELS, RECORDED, departures, read_record, write_record
    from npusim.validate.suites import SUITES

    names = list(dict.fromkeys(suites or SUITES))
    for name in names:
        pick(SUITES, name, "suite", "validate")
    families = _run(names, full)
    left = [] if record else departures(families, read_record(full), names)
    if json:
        from npusim.validate.table import as_json

        print(json_module.dumps(as_json(families, LEVELS[full], left), indent=1, sort_keys=True))
    else:
        _print(families, rows, left)
        if not left and not record:
            print("every error is the recorded one")
    if record:  # last, so that a folder that cannot be written costs no figures
        write_record(families, full, names)
        print(f"recorded in {RECORDED}", file=sys.stderr)
    if left:
        raise typer.Exit(1)


def _run(names: list[str], full: bool) -> list["Family"]:
    """Runs the suites one after the other; says on stderr which, and what each took."""
    from npusim.cli.progress import announce_compilation
    from npusim.validate.suites import SUITES

    announce_compilation("fast")
    families: list[Family] = []
    for name in names:
        start_s = time.process_time()
        print(f"{name}: {SUITES[name].about} …", file=sys.stderr, flush=True)
        found = SUITES[name].run(full, _tell)
        assert all(family.suite == name for family in found), name
        families += found
        _tell("")
        print(f"{name}: {time.process_time() - start_s:.1f} s CPU", file=sys.stderr, flush=True)
    return families


def _tell(text: str) -> None:
    """What a suite does now, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}\r", end="", file=sys.stderr, flush=True)


def _print(families: list["Family"], rows: bool, left: list[str]) -> None:
    from npusim.cli.render import console, print_table
    from npusim.validate.table import case_tables, record_of, summary_table

    screen = console()
    for table in case_tables(families) if rows else []:
        print_table(screen, table)
    for line in _notes(families):
        screen.print(f"- {line}", markup=False)
    print_table(screen, summary_table(record_of(families)))
    screen.print()
    for line in left:
        screen.print(f"not as recorded: {line}", style="bold red", markup=False)


def _notes(families: list["Family"]) -> list[str]:
    """What each family is compared with and its note; those that have both in common share one."""
    shared: dict[tuple[str, str, str], list[str]] = {}
    for family in families:
        shared.setdefault((family.suite, family.reference, family.note), []).append(family.name)
    return [
        f"{suite}/{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: "
        f"against {reference}. {note}".rstrip()
        for (suite, reference, note), names in shared.items()
    ]
