"""Collectives on the transaction engine against alpha-beta closed forms, to the picosecond.

    steps * alpha + serial bytes / link rate + additions of what arrives

with the steps and bytes of `npusim.cost.collective`. A chain's pieces (broadcast) and the messages
of an all-to-all leave one after the other without waiting, so that only the first ones' alpha
shows: n - 1 of a chain's 2n - 2, one of an all-to-all's n - 1. Sizes divide evenly, so that nothing
is rounded up.

mesh2d runs a ring along each row and one along each column. On a line of cores a ring is folded:
0, 2, 4, ..., 3, 1. A piece goes round in n - 1 steps (all-reduce: 2n - 2), over edges of one hop or
two; the last piece is the one with the most hops on its way.
"""

from npusim.cost.collective import collective_cost, collective_ps
from npusim.units import ceil_div, cycles_to_ps, transfer_ps
from npusim.validate.collectives.engine_ring import (
    CORE_MHZ,
    SCRATCHPAD_BYTES,
    Wires,
    run_ps,
)
from npusim.validate.compare import Comparison, Family, Goal

REFERENCE = "alpha-beta closed form (Thakur, Rabenseifner, Gropp, 2005)"
RINGS = (Wires(2, 2), Wires(2, 4, link_cycles=20), Wires(4, 4), Wires(4, 6, router_cycles=5))
HUBS = tuple(Wires(1, n, crossbar=True) for n in (4, 8, 16))
PIECE_BYTES = (4096, 65536)
RING_OPS = ("all_gather", "reduce_scatter", "all_reduce", "broadcast")
HUB_CASES = (
    ("all_gather", "tree"),
    ("reduce_scatter", "tree"),
    ("all_reduce", "tree"),
    ("broadcast", "tree"),
    ("all_to_all", "auto"),
    ("all_reduce", "ring"),
)
MESHES = (Wires(2, 2), Wires(2, 4), Wires(3, 5, router_cycles=5), Wires(4, 4, link_cycles=20))
MESH_OPS = ("all_gather", "reduce_scatter", "all_reduce")
FORMS = {"auto": "ring"}  # pieces one after the other, as around a ring


def families(full: bool) -> list[Family]:
    """Rings on a mesh, and trees and exchanges through a crossbar; `full` adds larger pieces."""
    pieces = (*PIECE_BYTES, 1 << 20) if full else PIECE_BYTES
    rings = [
        _comparison(wires, op, "ring", piece)
        for op in RING_OPS
        for wires in RINGS
        for piece in pieces
    ]
    hubs = [
        _comparison(wires, op, algorithm, piece)
        for op, algorithm in HUB_CASES
        for wires in HUBS
        for piece in pieces
    ]
    meshes = [
        _comparison(wires, op, "mesh2d", piece)
        for op in MESH_OPS
        for wires in MESHES
        for piece in pieces
    ]
    return [
        Family("collectives", name, REFERENCE, tuple(comparisons), Goal("worst", 0.0))
        for name, comparisons in (
            ("on-chip rings without contention", rings),
            ("on-chip trees and exchanges, crossbar", hubs),
            ("on-chip rows and columns", meshes),
        )
    ]


def _comparison(wires: Wires, op: str, algorithm: str, piece_bytes: int) -> Comparison:
    n = wires.num_cores
    size = piece_bytes * (n - 1 if op == "all_to_all" else n)
    return Comparison(
        f"{op} {algorithm} {wires.rows}x{wires.columns} {piece_bytes} B pieces",
        float(run_ps(wires, op, algorithm, size)),
        float(closed_form_ps(wires, op, algorithm, size)),
        "ps",
    )


def closed_form_ps(wires: Wires, op: str, algorithm: str, size: int) -> int:
    """Time of the collective over all cores of `wires`, in ps."""
    if algorithm == "mesh2d":
        return _rows_and_columns_ps(wires, op, size)
    n = wires.num_cores
    form = FORMS.get(algorithm, algorithm)
    if (form, op) != ("tree", "broadcast") and form == "tree":
        form = "halving"  # the engine's tree halves and doubles; a broadcast is binomial
    cost = collective_cost(op, form, size, n)
    assert cost
    hidden = {"all_to_all": n - 2, "broadcast": n - 1 if form == "ring" else 0}.get(op, 0)
    alpha_ps = wires.alpha_ps(cost.serial // cost.steps)
    moved_ps = collective_ps(cost._replace(steps=cost.steps - hidden), alpha_ps, wires.link_gb_s)
    return moved_ps + _additions_ps(op, form, size, n)


def _rows_and_columns_ps(wires: Wires, op: str, size: int) -> int:
    """Rings in the rows with a column's part of the vector, rings in the columns with a core's."""
    parts = (wires.columns, size // wires.columns), (wires.rows, size // wires.num_cores)
    return sum(_folded_ring_ps(wires, op, n, piece) for n, piece in parts)


def _folded_ring_ps(wires: Wires, op: str, n: int, piece: int) -> int:
    """Rings of n cores on their lines that gather, reduce, or do both."""
    steps = (n - 1) * (2 if op == "all_reduce" else 1)
    line = [*range(0, n, 2), *reversed(range(1, n, 2))]
    edges = [abs(line[i] - line[i - 1]) for i in range(n)]
    hops = max(sum((3 * edges)[start : start + steps]) for start in range(n))
    cycles = (2 * steps + hops) * wires.link_cycles + (steps + hops) * wires.router_cycles
    moved_ps = cycles_to_ps(cycles, round(wires.noc_mhz * 1000))
    moved_ps += steps * (wires.ports_ps(piece) + transfer_ps(piece, wires.link_gb_s))
    return moved_ps + _additions_ps(op, "ring", n * piece, n)


def _additions_ps(op: str, form: str, size: int, n: int) -> int:
    """A reduction reads two pieces and writes one, as fast as the scratchpad does."""
    if op not in ("all_reduce", "reduce_scatter"):
        return 0
    halves = [size >> (i + 1) for i in range(n.bit_length() - 1)]
    pieces = halves if form == "halving" else [size // n] * (n - 1)
    cycles = sum(ceil_div(3 * piece, SCRATCHPAD_BYTES) for piece in pieces)
    return cycles_to_ps(cycles, CORE_MHZ * 1000)
