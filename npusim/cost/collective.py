"""A collective's vector and its cores → steps, traffic and alpha-beta time, in closed form.

`size` is the full vector each core holds (all_reduce, reduce_scatter, broadcast), ends with
(all_gather) or sends in all (all_to_all), in bytes or in elements. Ring and tree forms are those of
Thakur, Rabenseifner and Gropp (IJHPCA 19(1), 2005); mesh2d runs a ring in every row, then one in
every column. Traffic of a partitioned GEMM: arXiv 2510.05632, table 2, last row corrected.

Assumes that a step's messages do not share a link, and that pieces are cut evenly (the first ones
one larger where the size does not divide).
"""

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from npusim.units import ceil_div, transfer_ps


class Cost(NamedTuple):
    """`steps` in a row; `sent`: the most that one core sends; `serial`: what the steps' largest
    messages add up to; `total`: sent by all cores together."""

    steps: int
    sent: int
    serial: int
    total: int


NOTHING = Cost(0, 0, 0, 0)


def ring_gather(size: int, cores: int) -> Cost:
    """All-gather, and reduce-scatter, its mirror image: all pieces but one pass each core."""
    steps = cores - 1
    return Cost(steps, size - size // cores, steps * ceil_div(size, cores), steps * size)


def ring_all_reduce(size: int, cores: int) -> Cost:
    """Reduce-scatter, then all-gather."""
    return _twice(ring_gather(size, cores))


def ring_all_to_all(size: int, cores: int) -> Cost:
    """Core i sends a piece to i + 1, then to i + 2, …; `size` has no piece for the core itself."""
    steps = cores - 1
    return Cost(steps, size, steps * ceil_div(size, steps), cores * size) if steps else NOTHING


def ring_broadcast(size: int, cores: int) -> Cost:
    """A chain, in as many pieces as there are cores: the last core has the last piece after the
    others have passed."""
    if cores == 1:
        return NOTHING
    steps = 2 * cores - 2
    return Cost(steps, size, steps * ceil_div(size, cores), (cores - 1) * size)


def tree_broadcast(size: int, cores: int) -> Cost:
    """Binomial tree: the cores that have the vector double every step; the root always sends."""
    steps = (cores - 1).bit_length()
    return Cost(steps, steps * size, steps * size, (cores - 1) * size)


def tree_all_reduce(size: int, cores: int) -> Cost:
    """Binomial reduction to a root, then a broadcast from it."""
    down = tree_broadcast(size, cores)
    return Cost(2 * down.steps, down.sent, 2 * down.serial, 2 * down.total)


def halving_gather(size: int, cores: int) -> Cost:
    """Recursive doubling (all-gather) or halving (reduce-scatter), a power of two of cores: step i
    swaps 2**i pieces with the core at that distance. The bytes of a ring in log2(cores) steps."""
    assert cores & (cores - 1) == 0
    sent = sum(ceil_div(size << i, cores) for i in range(cores.bit_length() - 1))
    return Cost(cores.bit_length() - 1, sent, sent, (cores - 1) * size)


def halving_all_reduce(size: int, cores: int) -> Cost:
    """Recursive halving, then doubling."""
    return _twice(halving_gather(size, cores))


def mesh_gather(size: int, rows: int, columns: int) -> Cost:
    """All-gather in the rows, then in the columns; reduce-scatter is its mirror image."""
    # a core first owns one piece of rows * columns, then its row's share of one in rows
    first = ring_gather(ceil_div(size, rows), columns)
    second = ring_gather(size, rows)
    total = (rows * columns - 1) * size
    return Cost(
        first.steps + second.steps, first.sent + second.sent, first.serial + second.serial, total
    )


def mesh_all_reduce(size: int, rows: int, columns: int) -> Cost:
    """Reduce-scatter over the mesh, then all-gather over the mesh."""
    return _twice(mesh_gather(size, rows, columns))


def _twice(cost: Cost) -> Cost:
    return Cost(*(2 * value for value in cost))


def collective_cost(
    op: str, algorithm: str, size: int, cores: int, grid: tuple[int, int] | None = None
) -> Cost | None:
    """Cost of `op` by `algorithm` over `cores`; mesh2d needs the `grid` (rows, columns) they form.
    None where the algorithm has no form for the op."""
    if algorithm == "mesh2d":
        assert grid and grid[0] * grid[1] == cores
        mesh = MESH_COSTS.get(op)
        return mesh(size, *grid) if mesh else None
    line = LINE_COSTS[algorithm].get(op)
    return line(size, cores) if line else None


def collective_ps(cost: Cost, alpha_ps: int, gb_s: float) -> int:
    """steps * alpha + serial bytes / bandwidth, in ps; the cost must be of bytes."""
    return cost.steps * alpha_ps + transfer_ps(cost.serial, gb_s)


class GemmTraffic(NamedTuple):
    """Elements that one core sends for a GEMM (exact), by all cores, and ring steps."""

    sent: Fraction
    total: int
    steps: int


def gemm_traffic(
    m: int, k: int, n: int, rows: int, columns: int, scattered: bool = False
) -> GemmTraffic:
    """[m, k] @ [k, n] over `rows` cuts of m and n and `columns` cuts of k:
    2(C-1)/C * MN/R + (R-1)/R * KN/C elements a core. R = 1 is the 1-D K partition (all-reduce),
    C = 1 the 1-D M/N partition (all-gather of weights). `scattered`: the result may stay
    scattered, so only the reduce-scatter half is done.
    """
    halves = 1 if scattered else 2
    total = halves * (columns - 1) * m * n + (rows - 1) * k * n
    steps = halves * (columns - 1) + rows - 1
    return GemmTraffic(Fraction(total, rows * columns), total, steps)


LINE_COSTS: dict[str, dict[str, Callable[[int, int], Cost]]] = {
    "ring": {
        "all_gather": ring_gather,
        "reduce_scatter": ring_gather,
        "all_reduce": ring_all_reduce,
        "all_to_all": ring_all_to_all,
        "broadcast": ring_broadcast,
    },
    "tree": {"all_reduce": tree_all_reduce, "broadcast": tree_broadcast},
    "halving": {
        "all_gather": halving_gather,
        "reduce_scatter": halving_gather,
        "all_reduce": halving_all_reduce,
    },
}

MESH_COSTS: dict[str, Callable[[int, int, int], Cost]] = {
    "all_gather": mesh_gather,
    "reduce_scatter": mesh_gather,
    "all_reduce": mesh_all_reduce,
}
