"""Figures that follow from a model's shape alone → a family of equalities (no simulation).

PaLM-540B on 64 TPU v4: the printed use of peak is 2 x parameters x tokens / (latency x chips x
peak), all of which the paper prints or our operator graph counts (arXiv 2211.05102, tables 2, 3).
"""

from npusim.graph.params import parameter_count
from npusim.spec.model import Model
from npusim.validate.compare import Comparison, Family, Goal
from npusim.validate.measured.rows import Row, read_measured
from npusim.validate.measured.unsimulated import note

PEAK_FLOPS_S = 275e12  # TPU v4 in bf16, arXiv 2304.01433
PALM = Model(
    name="palm-540b",
    architecture="palm",
    hidden_size=18432,
    num_layers=118,
    num_heads=48,
    num_kv_heads=1,
    head_dim=256,
    intermediate_size=4 * 18432,
    vocab_size=256_000,  # arXiv 2204.02311
    tied_embeddings=True,
    norm="layernorm",
    parallel_residual=True,
    shared_norm=True,
)


def arithmetic_family() -> Family:
    """Its note counts the rows of measured.csv that are not simulated."""
    rows = {(r.batch, r.metric): r for r in read_measured() if r.model == "PaLM-540B"}
    found = [
        Comparison(f"{phase}, batch {batch}", _mfu(rows[batch, f"{phase}_latency"]),
                   rows[batch, f"{phase}_mfu"].value, "%")
        for batch, phase in (("1", "prefill"), ("64", "decode"))
    ]  # fmt: skip
    reference = "use of peak printed with its latency, arXiv 2211.05102"
    text = "not simulated: " + note(read_measured())
    return Family("measured", "palm-540b arithmetic", reference, tuple(found),
                  Goal("mape", 0.02), text)  # fmt: skip


def _mfu(row: Row) -> float:
    """Percent, from the row's latency."""
    tokens = int(row.batch) * (row.output_tokens or row.input_tokens)
    flops = 2 * parameter_count(PALM) * tokens
    return 100 * flops / (row.value * row.num_chips * PEAK_FLOPS_S)
