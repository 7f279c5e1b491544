"""Tables in, times out: the `fast` (numba) and the `simpy` engine, two readings of one set of rules."""
