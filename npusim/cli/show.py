"""`npusim compare` and `view`: what was written → tables, the Perfetto UI."""

from pathlib import Path
from typing import Annotated

import typer


def compare(
    first: Annotated[
        Path, typer.Argument(metavar="A", help="Folder of --out, or its result.json.")
    ],
    second: Annotated[Path, typer.Argument(metavar="B", help="The other one.")],
) -> None:
    """Compare two results: makespan, stalls and operators; of serving, latencies and throughput."""
    from npusim.cli.render import console, print_table
    from npusim.report.compare import compare as compare_results
    from npusim.report.compare import read_result

    screen = console()
    for table in compare_results(read_result(first), read_result(second)):
        print_table(screen, table)


def view(
    trace: Annotated[
        Path, typer.Argument(metavar="TRACE", help="A timeline written by run --trace.")
    ],
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the browser.")] = True,
) -> None:
    """Open a timeline in the Perfetto UI, offline (extra: npusim[view])."""
    from npusim.report.view import serve

    serve(trace, port=port, open_browser=browser)
