"""Instances of a chip → the cores of each: where prefill and decode lie on the mesh."""

from collections.abc import Callable, Sequence
from math import gcd

from npusim.errors import SpecError, nearest
from npusim.spec.hardware import Hardware
from npusim.spec.serving import Instance
from npusim.units import ceil_div

Plan = list[tuple[int, ...]]


def place_instances(
    policy: str, hardware: Hardware, wanted: Sequence[Instance], rows: Sequence[int] | None = None
) -> Plan:
    """Cores of each of `wanted` instances (one a count), in their order: `cores` where it has
    them, else tp x pp of those that are left. `rows`: where each stands in `serving.instances`.

    Raises SpecError when cores are asked for twice, or there are too few.
    """
    places = [f"serving.instances[{row}]" for row in rows or range(len(wanted))]
    taken: set[int] = set()
    found: dict[int, tuple[int, ...]] = {}
    for index, instance in enumerate(wanted):
        if instance.cores is not None:
            found[index] = _listed(hardware, instance, places[index], taken)
            taken.update(found[index])
    open_ones = [i for i in range(len(wanted)) if i not in found]
    order, path = PLACEMENTS[policy](hardware, wanted, open_ones)
    free = [core for core in path if core not in taken]
    for index in order:
        found[index] = _next_cores(hardware, wanted[index], places[index], free)
        free = [core for core in free if core not in set(found[index])]
    return [found[index] for index in range(len(wanted))]


def _listed(hardware: Hardware, instance: Instance, place: str, taken: set[int]) -> tuple[int, ...]:
    assert instance.cores is not None and instance.parallel is not None
    try:
        cores = tuple(hardware.listed_cores(instance.cores))
    except ValueError as error:
        raise SpecError(str(error), f"{place}.cores") from None
    twice = taken.intersection(cores)
    if twice or len(set(cores)) < len(cores):
        core = min(twice) if twice else next(c for c in cores if cores.count(c) > 1)
        raise SpecError(
            f"must not repeat core {core}, which an instance has already", f"{place}.cores"
        )
    tp, pp = instance.parallel.tp, instance.parallel.pp
    if len(cores) != tp * pp:
        needed = f"must be {tp * pp} cores (tp {tp} x pp {pp}), not {len(cores)}"
        raise SpecError(needed, f"{place}.cores")
    return cores


def _next_cores(
    hardware: Hardware, instance: Instance, place: str, free: list[int]
) -> tuple[int, ...]:
    assert instance.parallel is not None
    count = instance.parallel.tp * instance.parallel.pp
    usable = free
    groups = [group.name for group in hardware.core_groups]
    wanted = instance.core_group or (instance.role if instance.role in groups else None)
    if wanted is not None:
        if wanted not in groups:
            raise SpecError(
                f"must be one of {', '.join(groups)}, not {wanted!r}{nearest(wanted, groups)}",
                f"{place}.core_group",
            )
        own, of_core = groups.index(wanted), hardware.group_of_core()
        usable = [core for core in free if of_core[core] == own]
    if len(usable) < count:
        raise SpecError(
            f"each needs {count} cores (tp x pp), {len(usable)} are left; lower tp, pp or count",
            place,
        )
    return tuple(usable[:count])


def _rows(hardware: Hardware) -> list[int]:
    """Row by row, there and back."""
    rows, columns = hardware.mesh.rows, hardware.mesh.columns
    cells = [[r * columns + c for c in range(columns)] for r in range(rows)]
    return [core for r, row in enumerate(cells) for core in (reversed(row) if r % 2 else row)]


def _columns(hardware: Hardware) -> list[int]:
    """Column by column, there and back."""
    rows, columns = hardware.mesh.rows, hardware.mesh.columns
    cells = [[r * columns + c for r in range(rows)] for c in range(columns)]
    return [core for c, col in enumerate(cells) for core in (reversed(col) if c % 2 else col)]


def in_order(
    hardware: Hardware, wanted: Sequence[Instance], open_ones: list[int]
) -> tuple[list[int], list[int]]:
    """As listed, row by row."""
    return open_ones, _rows(hardware)


def pp_first(
    hardware: Hardware, wanted: Sequence[Instance], open_ones: list[int]
) -> tuple[list[int], list[int]]:
    """Half of the prefill instances at the left, decode ones in the middle, the other half at the
    right (section 7.1 of arXiv 2510.05632: pipelines first, whose spare channels carry KV)."""
    roles = [[i for i in open_ones if wanted[i].role == role] for role in ("prefill", "decode")]
    prefill, decode = roles
    if not prefill:
        return in_order(hardware, wanted, open_ones)
    others = [i for i in open_ones if wanted[i].role == "both"]
    half = ceil_div(len(prefill), 2)
    return prefill[:half] + decode + others + prefill[half:], _columns(hardware)


def dp_first(
    hardware: Hardware, wanted: Sequence[Instance], open_ones: list[int]
) -> tuple[list[int], list[int]]:
    """Groups of prefill and decode instances in the smallest whole ratio, each group's side by side
    (section 7.1 of arXiv 2510.05632, after WSC-LLM: each data-parallel group is divided)."""
    prefill = [i for i in open_ones if wanted[i].role == "prefill"]
    decode = [i for i in open_ones if wanted[i].role == "decode"]
    groups = gcd(len(prefill), len(decode)) or 1
    order: list[int] = []
    for group in range(groups):
        for members in (prefill, decode):
            size = len(members) // groups
            order += members[group * size : (group + 1) * size]
    return order + [i for i in open_ones if wanted[i].role == "both"], _rows(hardware)


Policy = Callable[[Hardware, Sequence[Instance], list[int]], tuple[list[int], list[int]]]
PLACEMENTS: dict[str, Policy] = {
    "pp_first": pp_first,
    "dp_first": dp_first,
    "in_order": in_order,
}
