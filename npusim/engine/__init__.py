"""Tables in, times out: two engines, `fast` (numba) and `simpy`, that read one set of rules."""

from npusim.engine.cache import is_compiled

__all__ = ["is_compiled"]
