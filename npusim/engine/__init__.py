"""Tables in, times out: the `fast` (numba) and the `simpy` engine, two readings of one set of rules."""

from npusim.engine.cache import is_compiled

__all__ = ["is_compiled"]
