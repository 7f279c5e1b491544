"""A folder of kernels → where they are kept compiled: its name changes with any of the sources.

numba's own cache looks only at the file of the function that is called; kernels call one another
across the files of a folder (the engine, a reference simulator). So the name carries a hash of all
of that folder's sources, of how the engine compiles kernels, and of the versions.

Assumes that the kernels of a folder call no others.
"""

import hashlib
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

_HERE = Path(__file__).parent


def _cache_root() -> Path:
    if os.environ.get("NPUSIM_CACHE_DIR"):
        return Path(os.environ["NPUSIM_CACHE_DIR"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "npusim"


def cache_dir(folder: Path = _HERE) -> Path:
    """Folder of the compiled kernels of exactly the sources in `folder`."""
    digest = hashlib.sha256()
    for path in sorted({*folder.glob("*.py"), _HERE / "kernel.py"}):
        digest.update(path.read_bytes())
    digest.update(f"{sys.version}{version('numba')}{platform.machine()}".encode())
    return _cache_root() / f"kernels-{digest.hexdigest()[:16]}"


def is_compiled() -> bool:
    """Whether a run finds the engine's kernels compiled already."""
    return any(cache_dir().glob("**/*.nbi"))
