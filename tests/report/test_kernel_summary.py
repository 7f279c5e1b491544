"""What binds a chip that runs kernels: by the kernels' spans, which do not overlap."""

import pytest

from npusim.report.kernel_summary import kernel_rows, kernel_verdict


def result(memory=0.1, compute=0.1, comm_ps=100):
    def use(name, kind, span_ps, flops=0, load_bytes=0):
        return {"operator": name, "kind": kind, "phase": "decode", "span_ps": span_ps,
                "flops": flops, "load_bytes": load_bytes, "store_bytes": 0}  # fmt: skip

    uses = [
        use("up", "matmul", 1000 - comm_ps - 50, 3000, 4000),
        use("all_reduce", "comm", comm_ps),
        use("norm", "norm", 50),
    ]
    return {
        "totals": {"makespan_ps": 1000, "flops_fraction": compute},
        "per_memory": [{"fraction": memory}, {"fraction": 0.0}],
        "per_operator": uses,
    }


@pytest.mark.parametrize(
    ("case", "title", "lever"),
    [
        (result(memory=0.5, compute=0.4), "Memory-bound", "bandwidth"),
        (result(memory=0.4, compute=0.5), "Compute-bound", "matrix units"),
        (result(comm_ps=600), "Link-bound", "hw.chips"),
        (result(), "Latency-bound", "hw.kernels.start_us"),
    ],
)
def test_the_largest_share_binds_unless_all_are_small(case, title, lever):
    text, advice = kernel_verdict(case)
    assert text.startswith(title) and lever in advice


def test_the_longest_kernels_are_named_by_their_share_of_the_makespan():
    text, _ = kernel_verdict(result(comm_ps=600))
    assert text == "Link-bound: kernels take all_reduce 60 %, up 35 %, norm 5.0 % of the time"


def test_a_row_has_a_kernels_rates_while_it_runs():
    columns, rows = kernel_rows(result(), most=2)
    assert [row[0] for row in rows] == ["up (decode)", "all_reduce (decode)"]
    up = dict(zip(columns, rows[0], strict=True))
    assert (up["share"], up["time"]) == ("85 %", "850 ps")
    assert up["TFLOP/s"] == f"{3000 / 850:,.1f}"
    assert up["GB/s"] == f"{4000 / 0.85:,.1f}"
