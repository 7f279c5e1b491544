import random
import sys

import numpy as np
import pytest
from serve_cases import (
    MS,
    done,
    instance,
    interrupted_run,
    iteration,
    make_run,
    small_run,
    unfinished,
)

from npusim.errors import SpecError
from npusim.report.serve.plots import OVER_TIME, check_plots, make_figure, write_plots
from npusim.report.serve.series import band, cdf, dots, rate_over_time, unit_of
from npusim.spec.serving import Slo


def value_at(times, values, at):
    before = [v for t, v in zip(times, values, strict=True) if t <= at]
    return before[-1] if before else 0


def test_a_short_series_is_shown_as_it_is():
    found = band(np.array([10, 20]), np.array([3, 1]), 30)
    assert found.times.tolist() == [0, 10, 20, 30]
    assert found.mean.tolist() == found.low.tolist() == found.high.tolist() == [0, 3, 1, 1]


def test_a_long_series_has_mean_and_extremes_of_every_bucket():
    draw = random.Random(3)
    times = sorted(draw.sample(range(1, 1000), 300))
    values = [draw.randint(0, 50) for _ in times]
    found = band(np.array(times), np.array(values), 1000, buckets=40)
    for i in range(40):
        ticks = [value_at(times, values, at) for at in range(25 * i, 25 * (i + 1))]
        assert (found.low[i], found.high[i]) == (min(ticks), max(ticks))
        assert found.mean[i] == pytest.approx(sum(ticks) / 25)
    assert found.times[-1] == 1000 and len(found.times) == len(found.mean) == 41


def test_a_bucket_without_a_step_holds_what_was_before():
    times = np.concatenate((np.arange(1, 100), [900]))
    found = band(times, np.append(np.full(99, 7), 1), 1000, buckets=10)
    assert found.mean[3] == found.low[3] == found.high[3] == 7


def test_dots_keep_the_extremes():
    values = np.arange(10_000) % 100
    values[[17, 4321]] = -5, 999
    chosen = dots(len(values), values, most=50)
    assert len(chosen) <= 52 and {17, 4321} <= set(chosen.tolist())
    assert dots(3, values[:3]).tolist() == [0, 1, 2]
    assert dots(0, values[:0]).tolist() == []


def test_a_cdf_begins_at_zero_and_ends_at_one():
    x, share = cdf(np.array([5, 1, 3, 3]))
    assert x.tolist() == [1, 1, 3, 3, 5]
    assert share.tolist() == [0, 0.25, 0.5, 0.75, 1]
    x, share = cdf(np.arange(10_000), points=100)
    assert (x[0], x[-1], share[-1], len(x)) == (0, 9999, 1, 101)


def test_rates_add_up_to_all_tokens():
    times = np.arange(0, 100 * MS, MS)
    begins, rates = rate_over_time(times, 99 * MS, bins=4)
    width_s = float(begins[1]) / 1e12
    assert len(begins) == 4 and (rates * width_s).sum() == pytest.approx(100)
    assert rate_over_time(np.array([5]), 9)[1].tolist() == [1e12 / 10]
    assert rate_over_time(np.array([], np.int64), 0)[1].tolist() == [0]


@pytest.mark.parametrize(
    ("largest_ps", "unit"), [(2 * 10**12, "s"), (1.9e12, "ms"), (2e6, "us"), (0, "us")]
)
def test_units_in_which_a_time_reads_well(largest_ps, unit):
    assert unit_of(largest_ps)[0] == unit


def titles(figure):
    return [note.text for note in figure.layout.annotations]


def test_panels_and_instances_of_a_run():
    figure = make_figure(small_run(), Slo(ttft_ms=40), "a <b>")
    assert titles(figure)[:3] == [
        "time to first token, ms",
        "time between tokens, ms",
        "latency, to the last token, ms",
    ]
    assert set(OVER_TIME) <= set(titles(figure)) and titles(figure).count("goal") == 2
    assert figure.layout.title.text == "a &lt;b&gt;"
    named = [(t.name, list(t.x), list(t.y)) for t in figure.data if t.showlegend]
    assert named == [
        ("prefill0", [0, 10, 30, 60, 60], [0, 1, 1, 0, 0]),
        ("decode0", [0, 35, 40, 50, 70, 80, 80], [0, 1, 1, 0, 1, 0, 0]),
    ]
    assert list(figure.data[0].x) == [30, 30, 55]


def test_only_some_instances_are_shown_and_it_says_so():
    instances = [instance(f"i{i}") for i in range(10)]
    rows = [iteration(0, 5, instance=i, requests=1) for i in range(10)]
    figure = make_figure(make_run([done(0, 0, (5,))], rows, instances=instances), Slo(), "")
    assert "batch size (the first 8 of 10 instances)" in titles(figure)
    assert sum(bool(t.showlegend) for t in figure.data) == 8


def test_gaps_too_short_to_be_seen_are_not_idle():
    rows = [iteration(0, 10, requests=4), iteration(10.001, 20, requests=4)]
    figure = make_figure(make_run([done(0, 0, (20,))], rows), Slo(), "")
    (line,) = [t for t in figure.data if t.showlegend]
    assert list(line.y) == [0, 4, 4, 0, 0]


@pytest.mark.parametrize("requests", [[], [unfinished(0)]])
def test_a_run_without_done_requests_says_so(requests, tmp_path):
    figure = make_figure(make_run(requests), Slo(ttft_ms=1, tbt_ms=1), "")
    assert titles(figure).count("no request was done") == 3


def test_the_page_needs_nothing_else_and_is_the_same_each_time(tmp_path):
    first = write_plots(small_run(), tmp_path / "new" / "a.html", title="two & more").read_text()
    assert "<title>two &amp; more</title>" in first and '<script src="http' not in first
    assert write_plots(small_run(), tmp_path / "b.html", title="two & more").read_text() == first


def test_a_missing_plotly_is_said_in_one_line(monkeypatch):
    check_plots()
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(SpecError, match=r"needs plotly; install it with: pip install 'npusim\[pl"):
        check_plots()


def test_an_interrupted_run_is_drawn_to_its_last_event():
    figure = make_figure(interrupted_run(), Slo(), "")
    assert figure.layout.xaxis4.range == (-0.1, 10.1)


def test_a_long_tail_is_cut_and_told():
    tokens = (*range(1, 301), 900)  # 299 gaps of 1 ms, one of 600
    figure = make_figure(make_run([done(0, 0, tokens)]), Slo(), "")
    assert "time between tokens, us (longest 600.000 ms)" in titles(figure)
    assert figure.layout.xaxis2.range == (0, 1500)
    assert figure.layout.xaxis.range is None


@pytest.mark.parametrize(("goal_ms", "shown"), [(20, 2), (20.1, 0)])
def test_a_goal_far_beyond_all_values_is_not_drawn(goal_ms, shown):
    figure = make_figure(make_run([done(0, 0, (10,))]), Slo(ttft_ms=goal_ms), "")
    assert titles(figure).count("goal") == shown


@pytest.mark.parametrize(("blocks", "limits"), [(21, (0, 1.05)), (20, None)])
def test_the_axis_of_kv_ends_at_all_blocks_unless_few_are_held(blocks, limits):
    run = make_run([done(0, 0, (10,))], [iteration(0, 10, kv_blocks=blocks)])
    assert make_figure(run, Slo(), "").layout.yaxis5.range == limits
