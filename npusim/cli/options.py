"""Options that several commands have, each as typer declares it."""

from pathlib import Path
from typing import Annotated

import typer

Chip = Annotated[str | None, typer.Option(help="Chip: a file or bundled name.")]
ModelFile = Annotated[str | None, typer.Option(help="Model: a HF config.json or bundled name.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace one key.")
]
Timeline = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write a timeline: .json, .json.gz or .pftrace."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON only.")]
