"""Mapped and planned work → the Program: stage by stage, equal layers once, hand-overs between."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from npusim.graph.ir import Op
from npusim.passes.collective.fabric import fabric_of
from npusim.passes.demand import StageWork
from npusim.passes.emit.attention import emit_attention, emit_nothing_yet
from npusim.passes.emit.comm import Communicator
from npusim.passes.emit.core_state import CoreState
from npusim.passes.emit.matmul import emit_experts, emit_matmul
from npusim.passes.emit.repeat_rows import Run, Template, find_runs, repeat_rows
from npusim.passes.emit.tasks import Emission, Emitter, Ranks
from npusim.passes.emit.vector import emit_embedding, emit_vector
from npusim.passes.planned import Mapped, Planned, core_states, phase_of, placed_rows
from npusim.passes.tile import bits_to_bytes
from npusim.program import OpRow, Program, ProgramBuilder
from npusim.spec.hardware import Hardware
from npusim.spec.scenario import DTYPE_BITS, Dtypes, Parallel

EMITTERS: dict[str, Emitter] = {
    "embedding": emit_embedding,
    "matmul": emit_matmul,
    "qk": emit_nothing_yet,
    "softmax": emit_nothing_yet,
    "av": emit_attention,
    "experts": emit_experts,
    "norm": emit_vector,
    "rope": emit_vector,
    "activation": emit_vector,
    "add": emit_vector,
    "moe_combine": emit_vector,
    "topk": emit_vector,
    "sample": emit_vector,
}


@dataclass(frozen=True)
class Stage:
    """One group at one micro-batch: its emission, its work, and its ops by layer."""

    emission: Emission
    work: StageWork
    by_layer: dict[int, list[Op]]
    before: list[Op]
    behind: list[Op]


def emit_program(
    mapped: Mapped,
    planned: Planned,
    hardware: Hardware,
    parallel: Parallel,
    dtypes: Dtypes,
) -> Program:
    """Micro-batch by micro-batch, stage by stage; the replicas' equal layers stand together."""
    builder = ProgramBuilder()
    states = core_states(mapped, planned, hardware)
    send = Communicator(fabric_of(hardware), parallel.collective, DTYPE_BITS[dtypes.activations])
    num_stages = len(mapped.groups[0])
    num_micro = max(len(graphs) for graphs in mapped.graphs)
    for micro in range(num_micro):
        previous: list[Stage] = []
        for index in range(num_stages):
            stages = [
                _stage(builder, mapped, states, send, replica, index, micro)
                for replica in range(len(mapped.groups))
                if micro < len(mapped.graphs[replica])
            ]
            _hand_over(builder, previous, stages, index)
            _emit_stage(builder, stages)
            previous = stages
    builder.placed += placed_rows(mapped, planned)
    return builder.build()


def _stage(
    builder: ProgramBuilder,
    mapped: Mapped,
    states: dict[int, CoreState],
    send: Communicator,
    replica: int,
    index: int,
    micro: int,
) -> Stage:
    work = mapped.works[replica][index][micro]
    cores = [states[core] for core in mapped.groups[replica][index]]
    by_layer: dict[int, list[Op]] = {}
    before: list[Op] = []
    behind: list[Op] = []
    for op in work.ops:
        if op.layer >= 0:
            by_layer.setdefault(op.layer, []).append(op)
        else:
            (behind if by_layer else before).append(op)
    emission = Emission(
        builder, mapped.graphs[replica][micro], work.parts, work.scheme, cores,
        phase_of(work.ops), send, work.caches, by_layer, send.algorithm == "ring_phased",
    )  # fmt: skip
    return Stage(emission, work, by_layer, before, behind)


def _hand_over(
    builder: ProgramBuilder, previous: list[Stage], stages: list[Stage], index: int
) -> None:
    """The residual stream goes from each rank to the same rank of the next stage."""
    for sender, receiver in zip(previous, stages, strict=False):
        source, target = sender.emission, receiver.emission
        op = sender.work.ops[-1]
        row = builder.op(f"stage{index}.hand_over", "collective", -1, source.phase)
        outputs = sender.work.parts[op.name].outputs
        ready = source.transfer_spilled(outputs, row, source.done[op.name], source.spill_load)
        arrived: Ranks = []
        for rank, (src, dst) in enumerate(zip(source.cores, target.cores, strict=True)):
            size = bits_to_bytes(outputs[rank], src.cost.activation_bits)
            if size:
                _, recv = builder.message(src.core, dst.core, row, size, ready[rank])
                arrived.append([recv])
            else:
                arrived.append([])
        target.spilled[op.name] = target.exceeding(outputs)
        target.done[op.name] = target.transfer_spilled(outputs, row, arrived, target.spill_store)


def _emit_stage(builder: ProgramBuilder, stages: list[Stage]) -> None:
    """Ops before the layers, the layers in runs of equal ones, ops behind them."""
    for stage in stages:
        for op in stage.before:
            stage.emission.emit(op, EMITTERS)
    layers = sorted(stages[0].by_layer)
    for run in find_runs(_signatures(stages, layers)):
        _emit_run(builder, stages, layers, run)
    for stage in stages:
        for op in stage.behind:
            stage.emission.emit(op, EMITTERS)
        stage.emission.end_layer()


def _signatures(stages: list[Stage], layers: list[int]) -> list[tuple]:
    """By layer; equal for those with the same ops, and the same things in the scratchpads."""
    # cores that hold the same add nothing to what tells layers apart
    held = [
        {
            (frozenset(core.plan.weights), tuple(core.kv_resident_bytes.items())): core
            for core in stage.emission.cores
        }.values()
        for stage in stages
    ]
    return [
        tuple(
            _signature(op, layer, cores)
            for stage, cores in zip(stages, held, strict=True)
            for op in stage.by_layer[layer]
        )
        for layer in layers
    ]


def _signature(op: Op, layer: int, cores: Iterable[CoreState]) -> tuple:
    what = {**vars(op), "name": op.name.removeprefix(f"layer{layer}."), "layer": 0}
    where = [(op.name in core.plan.weights, core.kv_resident_bytes[layer]) for core in cores]
    return tuple(what.values()), tuple(where)


def _emit_run(builder: ProgramBuilder, stages: list[Stage], layers: list[int], run: Run) -> None:
    """Patterns as they come until one can be repeated for all that follow: it leaves everything
    behind as the one before it did.

    What emission writes depends on the ops and on what it knows: the tasks that ops wait for and
    what the buffers hold. Task numbers are only handed on, never looked at. So when all that is
    known after a pattern is what was known before it, n rows later, the next pattern has the same
    rows n later, however far back they wait, and leaves the same behind, and so on."""
    own = layers[run.start : run.start + run.period * run.count]
    patterns = [own[i : i + run.period] for i in range(0, len(own), run.period)]
    template: Template | None = None
    before: list = []
    known: list = []
    for index, pattern in enumerate(patterns):
        if template and known == before:
            _repeat(builder, stages, template, patterns[index:], patterns[index - 1])
            return
        template = _emit_pattern(builder, stages, pattern, index)
        before, known = known, _known(stages, pattern, len(builder))


def _known(stages: list[Stage], pattern: list[int], end: int) -> list:
    """What emission goes on with after a pattern, its tasks counted from row `end`."""
    found: list = []
    for stage in stages:
        names = (op.name for layer in pattern for op in stage.by_layer[layer])
        ranks = [tasks for name in names for tasks in stage.emission.done[name]]
        for core in stage.emission.cores:
            for window in (core.weights, core.kv):
                found.append([size for size, _ in window.held])
                ranks += [tasks for _, tasks in window.held]
        found.append([[task - end for task in tasks] for tasks in ranks])
    return found


def _emit_pattern(
    builder: ProgramBuilder, stages: list[Stage], pattern: list[int], index: int
) -> Template | None:
    """The layers of one pattern; a Template from the second one on."""
    first, first_op = len(builder), len(builder.ops)
    for stage in stages:
        stage.emission.touches.clear()
    for layer in pattern:
        for stage in stages:
            for op in stage.by_layer[layer]:
                stage.emission.emit(op, EMITTERS)
            stage.emission.end_layer()
    return Template(first, len(builder), first_op, len(builder.ops)) if index else None


def _repeat(
    builder: ProgramBuilder,
    stages: list[Stage],
    template: Template,
    patterns: list[list[int]],
    source: list[int],
) -> None:
    touches = [touch for stage in stages for touch in stage.emission.touches]
    states = {core.core: core for stage in stages for core in stage.emission.cores}

    def moved(layer: int, repetition: int) -> int:
        return patterns[repetition - 1][source.index(layer)]

    def rename(op: OpRow, repetition: int) -> OpRow:
        layer = moved(op.layer, repetition)
        return replace(
            op, name=op.name.replace(f"layer{op.layer}.", f"layer{layer}.", 1), layer=layer
        )

    pairs = [(touch.core, touch.tensor, touch.layer) for touch in touches]
    tensors = {pair: i for i, pair in enumerate(dict.fromkeys(pairs))}
    which = np.array([tensors[pair] for pair in pairs], np.int64)

    def steps(repetition: int) -> np.ndarray:
        moves = [
            _address(states[core], tensor, layer, moved(layer, repetition))
            - _address(states[core], tensor, layer, layer)
            for core, tensor, layer in tensors
        ]
        return np.array(moves, np.int64)[which]

    touched = np.array([t.task for t in touches], np.int64)
    repeat_rows(builder, template, len(patterns), rename, touched, steps)
    _move_state(stages, template.num_tasks * len(patterns), source, patterns[-1])


def _address(core: CoreState, tensor: str, layer: int, target: int) -> int:
    if not tensor:
        return core.kv_address[target]
    return core.plan.weights[tensor.replace(f"layer{layer}.", f"layer{target}.", 1)].address


def _move_state(stages: list[Stage], shift: int, source: list[int], target: list[int]) -> None:
    """What the last repetition leaves behind, as if it had been emitted."""
    for stage in stages:
        emission = stage.emission
        for old, new in zip(source, target, strict=True):
            for before, after in zip(stage.by_layer[old], stage.by_layer[new], strict=True):
                emission.done[after.name] = [
                    [task + shift for task in tasks] for tasks in emission.done[before.name]
                ]
                emission.spilled[after.name] = emission.spilled[before.name]
        for core in emission.cores:
            core.weights.shift(shift)
            core.kv.shift(shift)
