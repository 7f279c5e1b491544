"""Where compiled kernels are kept: a folder whose name changes with any engine source.

numba's own cache looks only at the file of the function that is called; the kernels here call one
another across files. So the folder's name carries a hash of all sources and of the versions.
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


def cache_dir() -> Path:
    """Folder of the compiled kernels of exactly these sources."""
    digest = hashlib.sha256()
    for path in sorted(_HERE.glob("*.py")):
        digest.update(path.read_bytes())
    digest.update(f"{sys.version}{version('numba')}{platform.machine()}".encode())
    return _cache_root() / f"kernels-{digest.hexdigest()[:16]}"


def is_compiled() -> bool:
    """Whether a run finds its kernels compiled already."""
    return any(cache_dir().glob("**/*.nbi"))
