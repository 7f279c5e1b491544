"""Numbers of vector and special-function operations → cycles of the vector unit and the SFU.

How many operations a softmax, norm, RoPE or activation takes is stated in the graph's ops (the
table is `npusim.graph.elementwise.WORK`).

Assumes full lanes: consecutive elements are packed whatever the row length.
"""


def vector_cycles(vector_ops: int, lanes: int, alus: int = 1) -> int:
    """Cycles of `vector_ops` simple operations at `lanes * alus` a cycle, rounded up."""
    return -(-vector_ops // (lanes * alus))


def sfu_cycles(sfu_ops: int, lanes: int) -> int:
    """Cycles of `sfu_ops` special functions at `lanes` results a cycle, rounded up."""
    return -(-sfu_ops // lanes)


def elementwise_cycles(
    vector_ops: int, sfu_ops: int, lanes: int, alus: int = 1, sfu_lanes: int = 1
) -> int:
    """Cycles of an operator that uses both units.

    Assumes that vector unit and SFU are pipelined, so that the slower one sets the time.
    """
    return max(vector_cycles(vector_ops, lanes, alus), sfu_cycles(sfu_ops, sfu_lanes))
