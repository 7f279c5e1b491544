"""An operator graph and a chip with kernels → a Program: kernel after kernel on all cores.

Assumes that a kernel begins when the one before it has ended on all cores (one stream, no overlap
of launches), and that of several chips all do what the one that is simulated does. Pipeline stages
are simulated one after the other on that chip; micro-batches behind the first add the time of a
longest stage each (GPipe, arXiv 1811.06965), which is exact for stages of equal time.
"""

from typing import Any

import networkx as nx
import numpy as np

from npusim.cost.interconnect import link_collective_ps
from npusim.errors import SpecError
from npusim.graph.ir import Op, ops_in_order
from npusim.passes.planned import phase_of
from npusim.passes.shared.chip import Chip, chip_of, sustained
from npusim.passes.shared.fuse import Group, fuse
from npusim.passes.shared.kernel_table import Kernel, kernels_of
from npusim.passes.shared.layout import Layout, layout_of
from npusim.passes.shared.shard import Collectives, shard
from npusim.passes.split import micro_batches
from npusim.passes.stage import assign_stages
from npusim.program import NO_UNIT, SYNC, VECTOR_UNIT, Program, ProgramBuilder, check
from npusim.spec.hardware import Hardware
from npusim.spec.scenario import Dtypes, Parallel
from npusim.units import ceil_div, format_bytes, ps_to_cycles

CLOCK_CORE = 0  # whose vector unit counts the start of a kernel and the time of a collective


def lower_kernels(
    graph: nx.DiGraph, hardware: Hardware, parallel: Parallel, dtypes: Dtypes
) -> Program:
    """The task streams of one iteration on one chip of `tp` x `pp`.

    Raises SpecError for a mapping that such a chip does not have, CapacityError when weights, KV
    cache and activations exceed its memory.
    """
    check_mapping(hardware, parallel)
    chip = chip_of(sustained(hardware), dtypes)
    whole = Work(graph, parallel)
    layout = layout_of(
        whole.ops, whole.groups, chip, parallel.pp, "raise tp or pp, or use a smaller batch"
    )
    emitter = _Emitter(chip, layout, hardware, parallel.tp, phase_of(tuple(whole.ops)))
    for index, part in enumerate(micro_batches(graph, parallel.micro_batches)):
        work = whole if part is graph else Work(part, parallel)
        handed = work.handed_over(parallel.pp)
        for group in work.groups if not index else work.slowest_stage(parallel.pp):
            emitter.group(group, work.collectives)
            emitter.hand_over(group, handed if not index else {})
    program = emitter.builder.build()
    program.notes += _notes(layout, chip, parallel)
    program.placed += _placed(layout)
    check(program)
    return program


class Work:
    """One micro-batch on one chip of a tensor-parallel group: its ops, collectives and kernels."""

    def __init__(self, graph: nx.DiGraph, parallel: Parallel) -> None:
        ops = ops_in_order(graph)
        self.ops, self.collectives = shard(ops, graph, parallel.tp, parallel.ep)
        self.groups = fuse(self.ops, graph, self.collectives)
        self.num_layers = len(graph.graph["layers"])

    def handed_over(self, pp: int) -> dict[int, int]:
        """Elements of the residual stream that leave a stage, by its last layer."""
        if pp == 1:
            return {}
        stages = assign_stages(self.num_layers, pp)
        elements = next(op.output_elements for op in self.ops if op.kind == "embedding")
        return {stage[-1]: elements for stage in stages[:-1]}

    def slowest_stage(self, pp: int) -> list[Group]:
        """The groups of a longest stage, of several the last, which has the LM head."""
        if pp == 1:
            return self.groups
        stages = assign_stages(self.num_layers, pp)
        longest = max(stages, key=lambda stage: (len(stage), stage.start))
        head = longest == stages[-1]
        first = next(i for i, g in enumerate(self.groups) if g.first.layer in longest)
        return [
            group
            for i, group in enumerate(self.groups)
            if group.first.layer in longest or (head and i > first and group.first.layer < 0)
        ]


def check_mapping(hardware: Hardware, parallel: Parallel) -> None:
    """SpecError for degrees that the chip, or its number, does not have."""
    needed = parallel.tp * parallel.pp * parallel.dp
    chips = hardware.chips
    if needed > 1 and chips is None:
        raise SpecError(f"{hardware.name} has no chips to spread over; tp, pp, dp must be 1")
    if chips is not None and needed > chips.count:
        raise SpecError(
            f"tp x pp x dp takes {needed} chips, {hardware.name} has {chips.count}; "
            "set parallel.tp lower",
            "parallel",
        )
    if parallel.dp > 1:
        raise SpecError("a chip with kernels runs one replica; dp must be 1", "parallel.dp")


def _notes(layout: Layout, chip: Chip, parallel: Parallel) -> list[str]:
    found = [
        f"kernels: weights {format_bytes(layout.weight_bytes)} and KV "
        f"{format_bytes(layout.kv_bytes)} in {chip.hbm.memory.name}"
    ]
    if parallel.tp > 1:
        found.append(f"tp {parallel.tp}: one of {parallel.tp} chips is simulated, all do the same")
    if parallel.pp > 1:
        found.append(
            f"pp {parallel.pp}: the first micro-batch passes all stages in turn, the others "
            f"follow at the pace of a longest stage; all are simulated on one chip"
        )
    return found


def _placed(layout: Layout) -> list[dict]:
    """One row in the form of `passes.planned.placed_rows`: core 0 stands for all, which share what
    lies in memory."""
    zeros = ("core", "replica", "stage", "rank", "resident_weights", "sram_kv_bytes")
    sizes = {"memory_weight_bytes": layout.weight_bytes, "memory_kv_bytes": layout.kv_bytes}
    return [{**dict.fromkeys(zeros, 0), **sizes, "peak_sram_bytes": 0}]


class _Emitter:
    """Appends kernels to a Program; `ended`: the tasks that the next kernel waits for."""

    def __init__(self, chip: Chip, layout: Layout, hardware: Hardware, tp: int, phase: str) -> None:
        self.chip, self.layout, self.hardware = chip, layout, hardware
        self.tp, self.phase = tp, phase
        self.builder = ProgramBuilder()
        self.ended: list[int] = []

    def group(self, group: Group, collectives: Collectives) -> None:
        """The kernels of a group, and the collective behind it."""
        name = "+".join(op.name.rpartition(".")[2] for op in group.ops)
        prefix = group.first.name.rpartition(".")[0]
        for kernel in kernels_of(group, self.chip):
            label = f"{prefix}.{name}{kernel.suffix}" if prefix else name + kernel.suffix
            self._kernel(group, kernel, label)
        last = group.ops[-1]
        if last.name in collectives:
            op, elements = collectives[last.name]
            self._link(last, op, elements, self.tp)

    def hand_over(self, group: Group, handed: dict[int, int]) -> None:
        """A message to the next stage behind the last kernel of a stage's last layer."""
        for op in group.ops:
            if op.layer in handed and op.name.endswith("mlp_add"):
                self._link(op, "point_to_point", handed.pop(op.layer), 2)

    def _kernel(self, group: Group, kernel: Kernel, label: str) -> None:
        builder, first = self.builder, group.first
        op = builder.op(label, first.kind, first.layer, self.phase)
        attends = first.kind == "qk" and not kernel.suffix
        starts = self.chip.kernels.attention_starts if attends else 1
        start = self._clock(op, starts * self.chip.start_cycles)
        table, begin = kernel.table, len(builder)
        bases = np.array([*(self._base(b, first) for b in kernel.bases), 0], np.int64)
        columns: dict[str, Any] = dict(table.columns)
        columns["address"] = table.columns["address"] + bases[table.slot]
        columns["op"] = op
        deps = np.where(table.deps < 0, start, table.deps + begin)
        builder.extend(columns, table.dep_start, deps)
        self.ended = [builder.sync(CLOCK_CORE, op, (table.ends + begin).tolist())]

    def _clock(self, op: int, cycles: int) -> int:
        """A task that lasts `cycles` from the end of the last kernel on."""
        if not cycles:
            return self.builder.task(SYNC, CLOCK_CORE, NO_UNIT, op, self.ended)
        return self.builder.compute(CLOCK_CORE, VECTOR_UNIT, op, cycles, self.ended)

    def _link(self, op: Op, collective: str, elements: int, num_chips: int) -> None:
        num_bytes = ceil_div(elements * self.chip.activation_bits, 8)
        assert self.hardware.chips
        time_ps = link_collective_ps(collective, num_bytes, num_chips, self.hardware.chips)
        prefix = op.name.rpartition(".")[0]
        row = self.builder.op(
            f"{prefix}.{collective}" if prefix else collective, "comm", op.layer, self.phase
        )
        self.ended = [self._clock(row, ps_to_cycles(time_ps, self.chip.khz))]

    def _base(self, what: str, op: Op) -> int:
        if what == "weights":
            return self.layout.weights.get(op.name, self.layout.activations)
        if what == "kv":
            return self.layout.kv.get(op.layer, self.layout.activations)
        return self.layout.activations
