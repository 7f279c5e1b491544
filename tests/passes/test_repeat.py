"""Repetition: what is found, what is cut out of a program, and what is put back in time."""

import numpy as np
import pytest

from npusim.passes.repeat import (
    added_ps,
    interpolate,
    layer_blocks,
    shorten,
)
from npusim.program import ProgramBuilder, check
from npusim.trace import Trace


def layered(num_layers: int, cycles=lambda layer: 100):
    """Two cores; a layer is a compute on each, and a message from core 0 to core 1."""
    b = ProgramBuilder()
    outside = b.op("embedding", "embedding")
    last = [b.compute(core, 0, outside, 7) for core in (0, 1)]
    for layer in range(num_layers):
        op = b.op(f"layers.{layer}.ffn", "matmul", layer)
        done = [b.compute(core, 1, op, cycles(layer), [last[core]]) for core in (0, 1)]
        _, received = b.message(0, 1, op, 64, [done[0]], [last[1]])
        last = [done[0], received]
    b.compute(1, 0, b.op("lm_head", "matmul"), 9, last)
    return b.build()


def times_of(program, message_ps=50):
    """End times by plain list scheduling: compute takes its cycles, a message `message_ps`."""
    end, free = [], {}
    for i in range(len(program)):
        deps = program.deps[program.dep_start[i] : program.dep_start[i + 1]]
        key = (program.core[i], program.unit[i])
        start = max([end[d] for d in deps] + [free.get(key, 0)])
        kind = program.kind[i]
        cost = {0: int(program.cycles[i]), 3: message_ps}.get(int(kind), 0)
        if kind == 4:
            start = max(start, end[program.match[i]])
        end.append(start + cost)
        if program.unit[i] >= 0:
            free[key] = end[-1]
    return np.array(end)


def trace_of(program):
    end = times_of(program)
    nothing: dict = {}
    return Trace(program, int(end.max()), end, end, end, nothing, nothing, nothing, [], [], [])


def test_blocks_are_the_layers_in_order():
    assert [b.layer for b in layer_blocks(layered(3))] == [-1, 0, 1, 2, -1]


@pytest.mark.parametrize("keep", [2, 3])
def test_shortened_program_is_the_program_of_fewer_layers(keep):
    shortened = shorten(layered(12), keep)
    check(shortened.program)
    fewer = layered(shortened.kept_layers)
    assert (shortened.kept_layers, shortened.removed_layers) == (keep, 12 - keep)
    for name in ("kind", "core", "cycles", "bytes", "match"):
        np.testing.assert_array_equal(shortened.program.columns[name], fewer.columns[name])
    np.testing.assert_array_equal(shortened.program.deps, fewer.deps)
    np.testing.assert_array_equal(shortened.program.dep_start, fewer.dep_start)


def settled(program):
    """The makespan and the shortened program once two repetitions in a row agree."""
    for keep in (1, 2, 4, 8):
        shortened = shorten(program, keep)
        trace = trace_of(shortened.program)
        added, spread = added_ps(shortened, trace.end_ps)
        if spread <= 0.01:
            return trace.makespan_ps + added, shortened
    raise AssertionError("did not settle")


@pytest.mark.parametrize("num_layers", [12, 13, 80])
def test_time_put_back_is_exact_where_layers_take_equal_time(num_layers):
    whole = layered(num_layers)
    assert settled(whole)[0] == times_of(whole).max()


def test_alternating_layers_are_cut_by_the_pattern():
    whole = layered(24, lambda layer: 100 if layer % 2 else 300)
    makespan, shortened = settled(whole)
    assert [cut.period for cut in shortened.cuts] == [2]
    assert makespan == times_of(whole).max()


def test_dense_layers_first_then_others_are_cut_separately():
    whole = layered(40, lambda layer: 100 if layer < 20 else 300)
    makespan, shortened = settled(whole)
    assert [cut.removed for cut in shortened.cuts] == [16, 16]
    assert makespan == times_of(whole).max()


def test_a_run_behind_layers_of_as_much_work_needs_one_repetition_only():
    # layer 20 differs, as where the resident weights end, but not in its work
    whole = layered(40, lambda layer: 10_000 if layer != 20 else 10_001)
    makespan, shortened = settled(whole)
    assert [cut.removed for cut in shortened.cuts] == [18, 18]
    assert makespan == times_of(whole).max()


def test_nothing_is_cut_where_layers_differ_or_are_few():
    assert shorten(layered(24, lambda layer: 100 + layer), 2) is None
    assert shorten(layered(2), 2) is None


def micro_batches(cores):
    """Six layers, twice, one half of them on each of `cores`."""
    b = ProgramBuilder()
    for _ in range(2):
        b.compute(cores[0], 1, b.op("embedding", "embedding"), 3)
        for layer in range(6):
            b.compute(cores[layer // 3], 1, b.op(f"layers.{layer}.ffn", "matmul", layer), 10)
    return b.build()


def test_layers_of_micro_batches_that_overlap_are_left_alone():
    assert shorten(micro_batches((0, 1)), 2) is None


def test_layers_of_micro_batches_one_after_the_other_are_cut_in_each():
    whole = micro_batches((0, 0))
    shortened = shorten(whole, 2)
    assert [cut.removed for cut in shortened.cuts] == [4, 4]
    assert (shortened.kept_layers, shortened.removed_layers) == (4, 8)
    trace = trace_of(shortened.program)
    assert trace.makespan_ps + added_ps(shortened, trace.end_ps)[0] == times_of(whole).max() == 126


def test_spread_is_the_difference_between_the_last_two_layers():
    shortened = shorten(layered(12), 4)
    trace = trace_of(shortened.program)
    trace.end_ps[shortened.cuts[0].ends[-2] :] += 15  # the last kept layer takes 115, not 100
    added, spread = added_ps(shortened, trace.end_ps)
    assert spread == pytest.approx(15 / 115)
    assert added == 8 * 115


def test_layers_that_take_turns_settle_by_the_means_of_two_halves():
    shortened = shorten(layered(40), 8)
    (cut,) = shortened.cuts
    size = (cut.ends[2] - cut.ends[1]) // cut.half
    trace = trace_of(shortened.program)
    for layer in range(2, 8):  # 115 and 100 by turns: no two in a row agree
        trace.end_ps[layer * size :] += 15 * (layer % 3 == 0)
    added, spread = added_ps(shortened, trace.end_ps)
    assert (cut.half, spread) == (3, 0)
    assert added == 32 * (100 + 100 + 115) // 3


def test_a_straight_line_needs_three_measurements():
    asked = []
    values, spread = interpolate(101, lambda i: asked.append(i) or 1000 + 3 * i)
    assert values == [1000 + 3 * i for i in range(101)]
    assert sorted(asked) == [0, 50, 100] and spread == 0


def test_a_step_is_measured_closely_and_no_value_is_off_by_more_than_the_step():
    def staircase(i):
        return 1000 if i < 37 else 1500

    asked = []
    values, _ = interpolate(100, lambda i: asked.append(i) or staircase(i))
    assert values[36] == 1000 and values[37] == 1500
    assert len(asked) == len(set(asked)) < 20
    assert all(abs(v - staircase(i)) <= 0.01 * v for i, v in enumerate(values))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_short_series_are_measured_whole(count):
    values, _ = interpolate(count, lambda i: i * i + 1)
    assert values == [i * i + 1 for i in range(count)]
