"""Rows of measured.csv: parsed whole, each simulated or with a reason."""

import pytest

from npusim.spec.load import bundled
from npusim.validate.measured import suite, unsimulated
from npusim.validate.measured.arithmetic import PALM, arithmetic_family
from npusim.validate.measured.rows import CHIPS, MODELS, _degrees, read_measured


def test_the_table_is_whole():
    rows = read_measured()
    assert len(rows) == 253
    assert all(row.value > 0 for row in rows)


@pytest.mark.parametrize(
    ("layout", "degrees"),
    [
        ("TP1PP4", {"tp": 1, "pp": 4}),
        ("TP8 SGLang", {"tp": 8}),
        ("EP4", {"ep": 4, "tp": 4}),
        ("480x480 cores", {}),
        ("-", {}),
    ],
)
def test_layouts(layout, degrees):
    assert _degrees(layout) == degrees


def test_every_row_is_simulated_or_has_a_reason():
    elsewhere = ("aiconfigurator", "DeepEP")  # operators, experts
    simulated = {id(row) for row in suite.simulated_rows(True)}
    for row in read_measured():
        if not any(part in row.source for part in elsewhere):
            assert (id(row) in simulated) != bool(unsimulated.reason(row)), row.name


def test_chips_and_models_are_bundled():
    assert set(CHIPS.values()) <= set(bundled("hardware"))
    assert set(MODELS.values()) <= set(bundled("model"))


def test_no_two_rows_of_a_family_have_one_name():
    names = [
        (suite.group_of(r), r.model, r.dtype, r.layout, r.batch, r.input_tokens,
         r.output_tokens, r.metric)
        for r in suite.simulated_rows(True)
    ]  # fmt: skip
    assert len(set(names)) == len(names)


def test_reasons_are_counted():
    found = unsimulated.counted(read_measured())
    assert sum(found.values()) == sum(bool(unsimulated.reason(r)) for r in read_measured())
    assert "16 of WSE-2" in unsimulated.note(read_measured())


def test_palm_has_540_billion_parameters_and_its_arithmetic_holds():
    from npusim.graph.params import parameter_count

    assert parameter_count(PALM) == pytest.approx(540.35e9, rel=1e-3)
    for case in arithmetic_family().comparisons:
        assert abs(case.error_fraction) < 0.02
