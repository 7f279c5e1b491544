"""`@kernel` and `@entry`: numba's njit as the engine uses it."""

import numba

from npusim.engine.cache import cache_dir

setattr(numba.config, "CACHE_DIR", str(cache_dir()))  # noqa: B010  (numba makes it at import)


def kernel(function):
    """Compiled into its callers; `.py_func` stays the plain Python of it."""
    return numba.njit(nogil=True, forceinline=True, error_model="numpy")(function)


def entry(function):
    """A kernel that Python calls: compiled once, kept on disk."""
    return numba.njit(nogil=True, cache=True, error_model="numpy")(function)
