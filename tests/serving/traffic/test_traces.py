"""Traces of the real formats → exact requests; slices, scales and shuffles of them."""

import json
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npusim.cli.files import CHECKS
from npusim.errors import SpecError
from npusim.serving.traffic import requests_of
from npusim.serving.traffic.azure import stamp_ps
from npusim.serving.traffic.cells import time_of
from npusim.serving.traffic.row import MAX_ARRIVAL_PS
from npusim.spec.load import load_scenario
from npusim.spec.traffic import TraceTraffic

# As the files of Azure's and Mooncake's projects are written: CR LF, 7 digits, no last newline.
AZURE = (
    b"TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    b"2020-02-28 23:59:59.9999999,4808,10\r\n"
    b"2020-02-29 00:00:00.0000000,3180,8\r\n"
    b"2020-02-29 00:00:01.0320601,110,27"
)
MOONCAKE = b"""\
{"timestamp": 0, "input_length": 1025, "output_length": 6, "hash_ids": [0, 1, 2]}
{"timestamp": 3000, "input_length": 512, "output_length": 1, "hash_ids": [0]}

{"timestamp": 3000.5, "input_length": 9, "output_length": 4, "hash_ids": [], "model": "m"}
"""
PLAIN = b"""\
arrival_s,user,prompt_tokens,output_tokens,priority,prefix_id,prefix_tokens
10,ada,100,5,2,system,64
10.25,"bob, jr",20,6,,,
1.1e1,ada,64,7,0,system,64
12.000000000001,ada,300,8,1,other,200
"""


@pytest.fixture
def read(tmp_path):
    """read(kind, bytes, **keys of the traffic) → its requests."""

    def read(kind, data, seed=0, **keys):
        path = tmp_path / "trace"
        path.write_bytes(data)
        return requests_of(TraceTraffic(kind=kind, path=str(path), **keys), seed)

    return read


def shape(requests):
    return [(r.arrival_ps, r.prompt_tokens, r.output_tokens) for r in requests]


def test_azure_is_exact_to_100_ns(read):
    requests = read("azure", AZURE)
    assert shape(requests) == [
        (0, 4808, 10),
        (100_000, 3180, 8),
        (1_032_060_200_000, 110, 27),
    ]
    assert [request.request_id for request in requests] == [0, 1, 2]
    assert not any(request.prefix for request in requests)


@pytest.mark.parametrize(
    ("text", "later_ps"),
    [
        ("1970-01-01 00:00:00", 0),
        ("1970-01-01T00:00:00.5Z", 500_000_000_000),
        ("1970-01-01 01:00:00.000001+01:00", 1_000_000),
        ("1969-12-31 22:30:00-0130", 0),
        ("1970-01-02 00:00:00.000000000001", 86_400 * 10**12 + 1),
    ],
)
def test_a_time_may_have_a_zone_and_up_to_12_digits(text, later_ps):
    assert stamp_ps(text, "place") == later_ps


def test_hash_ids_of_mooncake_are_the_prefix(read):
    requests = read("mooncake", MOONCAKE)
    assert shape(requests) == [(0, 1025, 6), (3 * 10**12, 512, 1), (3_000_500_000_000, 9, 4)]
    assert [request.prefix for request in requests] == [(0, 1, 2), (0,), ()]
    assert [request.prefix_block_tokens for request in requests] == [512, 512, 0]


def test_plain_csv_has_priorities_and_prefixes(read):
    requests = read("csv", PLAIN)
    assert shape(requests) == [
        (0, 100, 5),
        (250_000_000_000, 20, 6),
        (10**12, 64, 7),
        (2 * 10**12 + 1, 300, 8),
    ]
    assert [request.priority for request in requests] == [2, 0, 0, 1]
    assert [request.prefix for request in requests] == [(0,), (), (0,), (1,)]
    assert [request.prefix_block_tokens for request in requests] == [64, 0, 64, 200]


def test_three_columns_in_any_order_do(read):
    assert shape(read("csv", b"output_tokens,arrival_s,prompt_tokens\n3,0.5,4\n")) == [(0, 4, 3)]


def test_a_byte_order_mark_is_passed_over(read):
    assert len(read("azure", b"\xef\xbb\xbf" + AZURE)) == 3


def test_an_unsorted_file_is_sorted_and_equal_times_keep_their_order(read):
    text = b"arrival_s,prompt_tokens,output_tokens\n2,1,1\n1,2,1\n2,3,1\n1,4,1\n0,5,1\n"
    requests = read("csv", text)
    assert [request.prompt_tokens for request in requests] == [5, 2, 4, 1, 3]


# Arrivals 0 … 9 s; the prompt is 1 + the second.
LINES = b"arrival_s,prompt_tokens,output_tokens\n" + b"".join(
    b"%d,%d,1\n" % (100 + second, 1 + second) for second in range(10)
)


@pytest.mark.parametrize(
    ("keys", "prompts"),
    [
        ({}, range(1, 11)),
        ({"skip": 9}, [10]),
        ({"requests": 1}, [1]),
        ({"skip": 3, "requests": 4}, [4, 5, 6, 7]),
        ({"start_s": 3.0, "end_s": 6.0}, [4, 5, 6]),
        ({"start_s": 3.000001}, [5, 6, 7, 8, 9, 10]),
        ({"end_s": 1e-9}, [1]),
        ({"start_s": 3.0, "end_s": 8.0, "skip": 1, "requests": 2}, [5, 6]),
    ],
)
def test_slices(read, keys, prompts):
    requests = read("csv", LINES, **keys)
    assert [request.prompt_tokens for request in requests] == list(prompts)
    first = requests[0].prompt_tokens
    assert [r.arrival_ps for r in requests] == [(p - first) * 10**12 for p in prompts]
    assert [request.request_id for request in requests] == list(range(len(prompts)))


@pytest.mark.parametrize(
    ("keys", "gap_ps"),
    [
        ({"time_scale": 2.0}, 2 * 10**12),
        ({"time_scale": 0.1}, 10**11),
        ({"rate_per_s": 4.0}, 250 * 10**9),
        ({"rate_per_s": 4.0, "skip": 3}, 250 * 10**9),
        ({"rate_per_s": 4.0, "skip": 9}, None),
    ],
)
def test_scales(read, keys, gap_ps):
    requests = read("csv", LINES, **keys)
    gaps = {b.arrival_ps - a.arrival_ps for a, b in pairwise(requests)}
    assert gaps == ({gap_ps} if gap_ps else set())


def test_scaled_arrivals_do_not_drift(read):
    requests = read("csv", LINES, rate_per_s=3.0)
    assert [r.arrival_ps for r in requests] == [
        (2 * second * 10**12 + 3) // 6 for second in range(10)
    ]


def test_a_shuffle_deals_whole_lengths_anew_by_the_seed(read):
    plain, dealt, again, other = (
        read("csv", PLAIN, seed=seed, shuffle=shuffle)
        for seed, shuffle in ((1, False), (1, True), (1, True), (2, True))
    )
    assert [r.arrival_ps for r in dealt] == [r.arrival_ps for r in plain]

    def bodies(requests):
        return [
            (r.prompt_tokens, r.output_tokens, r.prefix, r.prefix_block_tokens, r.priority)
            for r in requests
        ]

    assert sorted(bodies(dealt)) == sorted(bodies(plain))
    assert bodies(dealt) == bodies(again)
    assert len({tuple(bodies(found)) for found in (plain, dealt, other)}) > 1


def test_without_shuffle_the_seed_changes_nothing(read):
    assert shape(read("csv", PLAIN, seed=1)) == shape(read("csv", PLAIN, seed=2))


def test_a_trace_scaled_beyond_64_bit_picoseconds_is_refused(read):
    with pytest.raises(SpecError, match=r"^traffic: the last request arrives 9e\+09 s after the"):
        read("csv", LINES, time_scale=1e9)
    with pytest.raises(SpecError, match=r"^traffic: the last request arrives 1e\+288 s after the"):
        read("csv", LINES, rate_per_s=5e-324)


def test_a_path_is_relative_to_the_scenario_or_a_bundled_name(tmp_path, monkeypatch):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "mine.csv").write_bytes(AZURE)
    scenario = tmp_path / "below" / "scenario.yaml"
    scenario.write_text("model: qwen3-4b\ntraffic: {kind: azure, path: mine.csv}\n")
    monkeypatch.chdir(tmp_path)
    found = load_scenario("below/scenario.yaml").traffic
    assert Path(found.path) == Path("below/mine.csv") and len(requests_of(found, 0)) == 3
    found = load_scenario("below/scenario.yaml", ["traffic.path=below/mine.csv"]).traffic
    assert found.path == "below/mine.csv"
    found = load_scenario("below/scenario.yaml", ["traffic.path=azure_sample"]).traffic
    assert found.path == "azure_sample" and len(requests_of(found, 0)) == 200


def test_check_reads_the_trace_of_a_scenario(tmp_path):
    (tmp_path / "mine.csv").write_bytes(AZURE)
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(
        "model: qwen3-4b\nparallel: {tp: 8}\ntraffic: {kind: azure, path: mine.csv}\n"
    )
    text = "ok, scenario of kind serve on npu_large_core, 3 requests to 1 instances"
    assert CHECKS["scenario"](str(scenario)) == text
    (tmp_path / "mine.csv").write_bytes(AZURE + b"\r\n1,2,3")
    with pytest.raises(SpecError, match=r"mine\.csv:5: TIMESTAMP must be a time such as"):
        CHECKS["scenario"](str(scenario))


ROWS = st.lists(
    st.tuples(
        st.decimals(0, 1000, places=12), st.integers(1, 10_000_000), st.integers(1, 10_000_000)
    ),
    min_size=1,
    max_size=20,
)


@given(rows=ROWS)
def test_what_is_written_is_read(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("any") / "trace.csv"
    lines = [f"{at},{prompt},{output}" for at, prompt, output in rows]
    path.write_text("\n".join(["arrival_s,prompt_tokens,output_tokens", *lines]))
    first = min(at for at, _, _ in rows)
    expected = [
        (int((at - first) * 10**12), prompt, output)
        for at, prompt, output in sorted(rows, key=lambda row: row[0])
    ]
    assert shape(requests_of(TraceTraffic(kind="csv", path=str(path)), 0)) == expected


TEXTS = st.one_of(st.text(max_size=80), st.binary(max_size=80))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(text=TEXTS, head=st.sampled_from([b"", AZURE + b"\n", MOONCAKE, PLAIN]))
@pytest.mark.parametrize("kind", ["azure", "mooncake", "csv"])
def test_any_text_is_read_or_is_one_line_of_error(tmp_path_factory, kind, text, head):
    path = tmp_path_factory.mktemp("any") / "trace"
    path.write_bytes(head + (text if isinstance(text, bytes) else text.encode("utf-8", "replace")))
    check_read_or_refused(kind, path)


@given(values=st.lists(JSON, min_size=4, max_size=4))
def test_any_json_is_read_or_is_one_line_of_error(tmp_path_factory, values):
    keys = ("timestamp", "input_length", "output_length", "hash_ids")
    path = tmp_path_factory.mktemp("any") / "trace"
    path.write_text(json.dumps(dict(zip(keys, values, strict=True))))
    check_read_or_refused("mooncake", path)


def check_read_or_refused(kind, path):
    try:
        requests = requests_of(TraceTraffic(kind=kind, path=str(path)), 0)
    except SpecError as error:
        assert error.place.startswith((str(path), "traffic")) and "\n" not in str(error)
    else:
        assert requests[0].arrival_ps == 0 and requests[-1].arrival_ps <= MAX_ARRIVAL_PS


def test_a_long_decimal_is_rounded_once():
    assert time_of("0." + "3" * 60, "arrival_s", "place", 10**12) == 333_333_333_333
    assert time_of(Decimal("1e-999"), "arrival_s", "place", 10**12) == 0
