import pytest
from report_cases import make_trace, setup, small_run, small_trace

from npusim.program import ProgramBuilder
from npusim.report.result import result_dict
from npusim.report.sentence import sentence
from npusim.report.summary import summarize
from npusim.trace import Iteration, Run


def run_of(start, end, build, makespan=None):
    b = ProgramBuilder()
    build(b, b.op("layer7.gate_up", "matmul", 7))
    trace = make_trace(b.build(), start, end, makespan)
    return Run([Iteration("prefill", 0, trace.makespan_ps, trace)])


def loads(b, op):
    b.load(0, op, 0, 0, 900)
    b.load(1, op, 1, 0, 900)


def computes(b, op):
    b.compute(0, 1, op, 900, flops=28_800)
    b.compute(1, 1, op, 900, flops=28_800)


def sends(b, op):
    b.message(0, 1, op, 900)


def waits(b, op):
    b.sync(0, op)
    b.sync(1, op)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (
            loads,
            "Memory-bound: 90 % of core time waits for loads and stores (gate_up 100 % of it); "
            "memory ran at 5.6 % of its peak. Lever: memory is not full, its latency binds; more "
            "or larger requests in flight.",
        ),
        (
            computes,
            "Compute-bound: 90 % of core time computes (gate_up 100 % of it); compute at 90 % of "
            "the arrays' peak. Lever: arrays are busy 90 %, vector units 0.0 %; more or faster "
            "ones, or operands of a faster data type.",
        ),
        (
            sends,
            "NoC-bound: 90 % of core time waits for messages in flight (gate_up 100 % of it); "
            "the busiest link was busy 5.6 %. Lever: links are not full; fewer and larger "
            "messages, or a partition that sends less.",
        ),
        (
            waits,
            "Dependency-bound: 90 % of core time waits for other cores' work (gate_up 100 % of "
            "it). Lever: cores wait for one another; balance their work, or another partition.",
        ),
    ],
)
def test_the_sentence_names_what_binds(build, text):
    run = run_of([0, 0], [900_000, 900_000], build, makespan=1_000_000)
    assert sentence(result_dict(setup(), run)) == text


def test_cores_without_work_are_left_out():
    run = run_of([0], [9000], lambda b, op: b.compute(0, 1, op, 9), makespan=10_000)
    text = sentence(result_dict(setup(), run))
    assert text.startswith(
        "Compute-bound: 90 % of core time computes (gate_up 100 % of it), on the 1 of 2 cores"
    )


def test_busy_vector_units_are_told_from_arrays():
    run = run_of([0], [9000], lambda b, op: b.compute(0, 0, op, 9), makespan=10_000)
    text = sentence(result_dict(setup(), run))
    assert text.endswith("Lever: vector units are busy 45 %, arrays 0.0 %; more lanes.")


def test_badly_filled_arrays_are_told():
    run = run_of([0, 0], [1_000_000] * 2, lambda b, op: [b.compute(c, 1, op, 1) for c in (0, 1)])
    assert "Lever: arrays are badly filled;" in sentence(result_dict(setup(), run))


def test_cores_that_finish_early_are_idle():
    run = run_of([0, 0], [1000, 1000], computes, makespan=10_000)
    assert sentence(result_dict(setup(), run)).startswith("Under-used: 90 % of core time is idle;")


def test_a_memory_near_its_peak_binds_whatever_cores_do():
    run = run_of([0, 0], [900_000, 900_000], computes, makespan=1_000_000)
    result = result_dict(setup(), run)
    result["per_memory"][0]["fraction"] = 0.69
    assert sentence(result).startswith("Compute-bound")
    result["per_memory"][0]["fraction"] = 0.71
    text = sentence(result)
    assert text.startswith("Memory-bound") and "while 90 % of core time computes" in text
    assert "Lever: more bandwidth" in text


def test_stages_that_wait_for_their_turn_are_told_from_cores_that_finish_early():
    run = run_of([0, 0], [1000, 1000], computes, makespan=10_000)
    result = result_dict(setup(), run)
    assert "balance the work between them" in sentence(result)
    result["scenario"]["parallel"]["pp"] = 4
    assert "more requests or micro-batches in flight" in sentence(result)


def test_notes_that_differ_in_numbers_only_are_printed_once():
    run = small_run()
    run.iterations[0].trace.program.notes = [
        "KV in decode: 1,024 tokens",
        "KV in decode: 1,025 tokens",
    ]
    assert result_dict(setup(), run)["notes"] == [
        "placement auto picked ring",
        "KV in decode: 1,024 tokens",
    ]


def test_a_full_link_before_memory_is_named():
    run = run_of([0, 0], [900_000, 900_000], loads, makespan=1_000_000)
    run.iterations[0].trace.links["busy_ps"][1] = 800_000
    text = sentence(result_dict(setup(), run))
    assert text.endswith("link 'link 1' is busy 80 %; wider links, or memory at more places.")


def test_an_empty_run_says_so():
    run = run_of([0], [0], lambda b, op: b.sync(0, op))
    assert sentence(result_dict(setup(), run)) == "Nothing ran: the makespan is zero."


def test_tables_of_a_small_run():
    summary = summarize(setup(), small_run())
    tables = {t.title: t for t in summary.tables}
    assert tables["Totals"].rows[0] == ["makespan", "880.000 ns"]
    stall_rows = tables["Where core time went"].rows
    assert stall_rows[0] == ["compute", "28 %", "250.000 ns", "45 %  core 0,0"]
    (row,) = tables["Operators, over layers and cores"].rows
    assert row[0] == "up (prefill)" and row[1] == "100 %"
    channels = tables["Busiest memory channels (2 of 2 used)"].rows
    assert channels[0] == ["hbm[0] channel 0", "23 %", "3.12 KiB", "3.6", "16.0"]
    assert summary.notes == ["placement auto picked ring"] and summary.failed_checks == []


def test_every_row_is_as_long_as_its_table():
    for table in summarize(setup(), small_run()).tables:
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_a_failed_check_is_told():
    run = Run([Iteration("x", 0, 440_000, small_trace())])
    run.iterations[0].trace.channels["write_bytes"][1] += 3
    told = summarize(setup(), run).failed_checks
    assert told == ["store bytes = bytes written to memory: 400 and 403"]
