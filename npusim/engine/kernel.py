"""`@kernel`: njit as the engine uses it, with a cache that notices a change in any engine file.

numba's own cache looks only at the file of the function that is called. So the cache folder's name
carries a hash of all sources here, of the versions and of the CPU's name.
"""

import hashlib
import os
import platform
import sys
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
    digest.update(f"{sys.version}{platform.machine()}".encode())
    return _cache_root() / f"kernels-{digest.hexdigest()[:16]}"


def is_compiled() -> bool:
    """Whether a run finds its kernels compiled already."""
    return any(cache_dir().glob("**/*.nbi"))


def _use_cache_dir() -> None:
    import numba

    numba.config.CACHE_DIR = str(cache_dir())


_use_cache_dir()

from numba import njit  # noqa: E402


def kernel(function):
    """Compiled into its callers; `.py_func` stays the plain Python of it."""
    return njit(nogil=True, forceinline=True)(function)


def entry(function):
    """A kernel that Python calls: compiled once, kept on disk."""
    return njit(nogil=True, cache=True)(function)
