"""Setup and Run → a timeline file for Perfetto, written as a stream and renamed into place."""

import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from npusim.errors import SpecError
from npusim.report.chrome import chrome_chunks
from npusim.report.events import Timeline
from npusim.report.replace import replacing
from npusim.report.tracks import timeline
from npusim.trace import Run

if TYPE_CHECKING:
    from npusim.spec.load import Setup

GZIP_LEVEL = 1


def check_path(path: str | Path) -> Callable[[Timeline], Iterator[bytes]]:
    """The writer for a file name; SpecError when its suffix is none of FORMATS."""
    name = Path(path).name
    for suffix, write in FORMATS.items():
        if name.endswith(suffix) and name != suffix:
            return write
    raise SpecError(f"a timeline's name must end with {', '.join(FORMATS)}", str(path))


def write_timeline(setup: "Setup", run: Run, path: str | Path) -> Path:
    """Writes a timeline in the format that the suffix asks for; returns the path.

    The same run gives the same bytes. Memory stays bounded by a chunk of slices beyond
    what the run itself holds. Raises SpecError for an unknown suffix.
    """
    return write_events(timeline(setup, run), path)


def write_events(events: Timeline, path: str | Path) -> Path:
    """Writes any timeline; returns the path. Raises SpecError for an unknown suffix."""
    path = Path(path)
    chunks = check_path(path)(events)
    with replacing(path) as file:
        _write(chunks, file, zipped=path.name.endswith(".gz"))
    return path


def _write(chunks: Iterator[bytes], file: IO[bytes], zipped: bool) -> None:
    if not zipped:
        file.writelines(chunks)
        return
    # Neither name nor time go into the header, so that equal runs give equal files.
    with gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as packed:
        buffered = io.BufferedWriter(cast(io.RawIOBase, packed), 1 << 20)
        buffered.writelines(chunks)
        buffered.flush()
        buffered.detach()


def _perfetto(events: Timeline) -> Iterator[bytes]:
    from npusim.report.perfetto import perfetto_chunks  # the package takes a while to import

    return perfetto_chunks(events)


FORMATS: dict[str, Callable[[Timeline], Iterator[bytes]]] = {
    ".json": chrome_chunks,
    ".json.gz": chrome_chunks,
    ".pftrace": _perfetto,
    ".perfetto-trace": _perfetto,
}
