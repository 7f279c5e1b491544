"""A transfer, collective or memory workload → its Program."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from npusim.errors import SpecError, nearest
from npusim.passes.collective.fabric import fabric_of
from npusim.passes.collective.lower import chosen, collective
from npusim.passes.place import place
from npusim.program import LOAD, STORE, Program, ProgramBuilder, check, dma_unit
from npusim.spec.hardware import Core, Hardware, Memory, MemoryInstance
from npusim.spec.scenario import CollectiveWorkload, CoreRef, MemoryWorkload, TransferWorkload
from npusim.units import ceil_div, format_bytes

MAX_REQUESTS = 5_000_000  # a gigabyte of tables
ELEMENT_BYTES = 2  # Assumes 16-bit elements in a collective of its own


def lower_transfer(hardware: Hardware, workload: TransferWorkload) -> Program:
    """One message. Raises SpecError for a core outside the mesh, or when both are the same."""
    src = _core_id(hardware, workload.src, "workload.src")
    dst = _core_id(hardware, workload.dst, "workload.dst")
    if src == dst:
        raise SpecError(f"src and dst must be different cores, both are core {src}", "workload.dst")
    b = ProgramBuilder()
    b.message(src, dst, b.op("transfer", "transfer"), workload.bytes)
    return _checked(b)


def lower_collective(
    hardware: Hardware, workload: CollectiveWorkload, placement: str = "auto"
) -> Program:
    """One collective over the workload's cores in the order given, or over all cores in the order
    that `placement` gives the ranks of one group. Raises SpecError for fewer than two cores, one
    named twice, or one outside the mesh."""
    if workload.cores is None:
        cores = place(placement, hardware, hardware.mesh.num_cores, 1, 1)[0][0]
    else:
        cores = _core_ids(hardware, workload.cores)
    if len(cores) < 2:
        raise SpecError(
            f"a collective needs at least two cores, not {len(cores)}", "workload.cores"
        )
    b = ProgramBuilder()
    fabric = fabric_of(hardware)
    kind, num_bytes, algorithm = workload.op, workload.bytes, workload.algorithm
    op = b.op(kind, "collective")
    collective(
        b, op, kind, cores, num_bytes, (), fabric, algorithm=algorithm, element_bytes=ELEMENT_BYTES
    )
    name, cycles = chosen(kind, cores, num_bytes, fabric, algorithm=algorithm)
    b.notes.append(f"{kind} over {len(cores)} cores: {name}, estimated {cycles:.0f} NoC cycles")
    room = min(hardware.core(core).scratchpad.capacity_bytes for core in cores)
    if num_bytes > room:
        b.notes.append(
            f"a vector of {format_bytes(num_bytes)} exceeds the scratchpad of "
            f"{format_bytes(room)}; it is timed as if it fitted"
        )
    return _checked(b)


def lower_memory(hardware: Hardware, workload: MemoryWorkload, seed: int = 0) -> Program:
    """`bytes` of loads and stores for each core, requests in turn over its load engines.

    Addresses run over `span_bytes` (sequential: default `bytes`; strided: enough for every request;
    random: all) of the core's share of its memory, and start again at its end; strided passes
    start `request_bytes` further each time. `read_fraction` of the requests, rounded, are
    loads, in an order drawn from `seed`, as are random addresses. Raises SpecError for a core
    outside the mesh or named twice, an unknown memory, a span or stride that does not fit.
    """
    if workload.cores is not None:
        cores = _core_ids(hardware, workload.cores)
    else:
        cores = [_core_id(hardware, workload.core, "workload.core")]
    memory = _memory(hardware, workload.memory)
    num_requests = ceil_div(workload.bytes, workload.request_bytes)
    if num_requests * len(cores) > MAX_REQUESTS:
        raise SpecError(
            f"{num_requests * len(cores)} requests are too many, at most {MAX_REQUESTS}; "
            "raise request_bytes or lower bytes",
            "workload.request_bytes",
        )
    b = ProgramBuilder()
    op = b.op(f"{workload.pattern} {memory.name}", "memory")
    rng = np.random.default_rng(seed)
    instances = [i for i in hardware.memory_instances() if i.memory.name == memory.name]
    for core_id in cores:
        instance = next(i for i in instances if core_id in i.cores)
        base, share = _share(instance, core_id, cores)
        columns = _requests(workload, num_requests, share, rng)
        columns["address"] += base
        columns["unit"] = _engines(hardware.core(core_id), num_requests)
        columns |= {"core": core_id, "memory": instance.memory_id, "op": op}
        b.extend(columns, np.zeros(num_requests + 1, np.int64), np.empty(0, np.int64))
    return _checked(b)


def _requests(
    workload: MemoryWorkload, num_requests: int, share: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Kind, bytes and address (in the core's part) of each request (num_requests,)."""
    offsets = _offsets(workload, num_requests, share, rng)
    reads = rng.permutation(num_requests) < round(workload.read_fraction * num_requests)
    sizes = np.full(num_requests, workload.request_bytes)
    sizes[-1] = workload.bytes - (num_requests - 1) * workload.request_bytes
    return {"kind": np.where(reads, LOAD, STORE), "bytes": sizes, "address": offsets}


def _checked(b: ProgramBuilder) -> Program:
    program = b.build()
    check(program)
    return program


def _core_id(hardware: Hardware, ref: CoreRef, place_name: str) -> int:
    try:
        return hardware.core_id(ref)
    except ValueError as error:
        raise SpecError(str(error), place_name) from None


def _core_ids(hardware: Hardware, refs: Sequence[CoreRef]) -> list[int]:
    """Ids of a list of cores; SpecError when it is empty, or a core is outside or listed twice."""
    ids = [_core_id(hardware, ref, "workload.cores") for ref in refs]
    if not ids:
        raise SpecError("names no core", "workload.cores")
    for position, core_id in enumerate(ids):
        if core_id in ids[:position]:
            raise SpecError(f"core {core_id} is listed twice", "workload.cores")
    return ids


def _memory(hardware: Hardware, name: str | None) -> Memory:
    """The memory called `name`, or the first one."""
    if not hardware.memories:
        raise SpecError(f"{hardware.name} has no memory besides the scratchpads", "workload.memory")
    names = [memory.name for memory in hardware.memories]
    if name is not None and name not in names:
        raise SpecError(
            f"memory must be one of {', '.join(names)}, not {name!r}{nearest(name, names)}",
            "workload.memory",
        )
    return hardware.memories[names.index(name) if name else 0]


def _share(instance: MemoryInstance, core_id: int, cores: Sequence[int]) -> tuple[int, int]:
    """First address and bytes of a core's part: the instance in equal parts, whole interleaves, for
    the cores of the workload that use it."""
    sharers = [core for core in cores if core in instance.cores]
    interleave = instance.memory.interleave_bytes
    share = instance.memory.capacity_bytes // len(sharers) // interleave * interleave
    return sharers.index(core_id) * share, share


def _offsets(
    workload: MemoryWorkload, num_requests: int, share: int, rng: np.random.Generator
) -> np.ndarray:
    """Address of each request (num_requests,) in the core's part of `share` bytes."""
    span = workload.span_bytes or min(share, _default_span(workload, num_requests, share))
    request, stride = workload.request_bytes, workload.stride_bytes
    _fits(span, share, "span_bytes", "the core's share of the memory")
    _fits(request, span, "request_bytes", "the span")
    index = np.arange(num_requests)
    if workload.pattern == "sequential":
        return index % (span // request) * request
    if workload.pattern == "random":
        return rng.integers(span // request, size=num_requests) * request
    _fits(stride, span, "stride_bytes", "the span")
    if stride < request:
        return index % ((span - request) // stride + 1) * stride
    a_pass = span // stride
    return index % a_pass * stride + index // a_pass % (stride // request) * request


def _default_span(workload: MemoryWorkload, num_requests: int, share: int) -> int:
    step = max(workload.stride_bytes, workload.request_bytes)
    sizes = {
        "sequential": num_requests * workload.request_bytes,
        "strided": num_requests * step,
        "random": share,
    }
    return sizes[workload.pattern]


def _fits(num_bytes: int, bound: int, key: str, what: str) -> None:
    if num_bytes > bound:
        raise SpecError(f"{num_bytes} exceeds {what}, {bound} bytes", f"workload.{key}")


def _engines(core: Core, num_requests: int) -> np.ndarray:
    """DMA unit of each request, in turn: the engines besides the one that sends messages."""
    first = min(1, core.dma.engines - 1)
    return dma_unit(first) + np.arange(num_requests) % (core.dma.engines - first)
