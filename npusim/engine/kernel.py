"""`@kernel` and `@entry`: numba's njit as the engine and the reference simulators use it."""

from functools import cache
from pathlib import Path

import numba

from npusim.engine.cache import cache_dir

_cache_dir = cache(cache_dir)


def kernel(function):
    """Compiled into its callers, and for them alone: it has no wrappers, which would take as long
    to compile as itself. It makes no arrays and counts no references to those it is given, which
    would take most of the time where they stand in tuples. `.py_func` stays the plain Python."""
    lean = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False}
    return numba.njit(nogil=True, forceinline=True, error_model="numpy", **lean)(function)


def entry(function):
    """A kernel that Python calls: compiled once, kept on disk in the folder of its sources."""
    folder = _cache_dir(Path(function.__code__.co_filename).parent)
    setattr(numba.config, "CACHE_DIR", str(folder))  # noqa: B010  (numba makes it at import)
    return numba.njit(nogil=True, cache=True, error_model="numpy")(function)
