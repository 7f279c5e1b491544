import csv
from decimal import Decimal

import numpy as np
import pytest
from serve_cases import MS, done, interrupted_run, make_run, rejected, small_run, unfinished

from npusim.report.serve.files import milliseconds, seconds, write_csvs


def read(run, folder, name):
    write_csvs(run, folder)
    with (folder / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def test_times_are_exact_decimals():
    assert seconds(np.array([0, 1, 1_000_000_000_001])) == [
        "0.000000000000",
        "0.000000000001",
        "1.000000000001",
    ]
    assert milliseconds(np.array([1_500_000_001, 7]), np.array([True, False])) == [
        "1.500000001",
        "",
    ]


def test_a_row_a_request(tmp_path):
    first, second, third = read(small_run(), tmp_path, "requests")
    times = ("queueing_ms", "ttft_ms", "mean_tbt_ms", "max_tbt_ms", "handover_ms", "latency_ms")
    assert [Decimal(first[name]) for name in times] == [10, 30, 10, 10, 5, 50]
    assert (first["instance"], first["decode_instance"]) == ("prefill0", "decode0")
    assert (first["prompt_tokens"], first["cached_tokens"]) == ("100", "25")
    assert Decimal(second["arrival_s"]) == Decimal("0.005")
    assert Decimal(second["finish_s"]) == Decimal("0.080")
    assert (third["status"], third["instance"]) == ("rejected", "")
    assert {third[name] for name in (*times, "scheduled_s", "first_token_s", "finish_s")} == {""}


def test_unfinished_requests_say_how_far_they_came(tmp_path):
    requests = [unfinished(1, (3, 7)), done(2, 2, (4,)), rejected(3)]
    first, second, _ = read(make_run(requests), tmp_path, "requests")
    assert (first["status"], Decimal(first["ttft_ms"]), first["latency_ms"]) == (
        "unfinished",
        2,
        "",
    )
    assert first["mean_tbt_ms"] == "" and second["mean_tbt_ms"] == ""


def test_a_row_an_iteration_and_a_transfer(tmp_path):
    row = read(small_run(), tmp_path, "iterations")[2]
    assert row["instance"] == "decode0" and row["context_tokens"] == "101"
    assert Decimal(row["start_s"]) == Decimal("0.035") and Decimal(row["duration_ms"]) == 5
    move = read(small_run(), tmp_path, "transfers")[0]
    assert (move["source"], move["destination"], move["kind"]) == (
        "prefill0",
        "decode0",
        "transfer",
    )
    assert (move["bytes"], Decimal(move["duration_ms"])) == ("1600", 5)


def test_no_requests_give_headers_only(tmp_path):
    assert read(make_run(), tmp_path, "requests") == []
    assert read(make_run(), tmp_path, "transfers") == []


def test_the_first_columns_are_those_of_csv_traffic(tmp_path):
    write_csvs(small_run(), tmp_path)
    header = (tmp_path / "requests.csv").read_text().split("\n")[0].split(",")
    assert header[:4] == ["arrival_s", "prompt_tokens", "output_tokens", "priority"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    write_csvs(small_run(), tmp_path)
    before = (tmp_path / "requests.csv").read_bytes()
    broken = small_run()
    broken.requests["status"] = np.array([1, 1, 9])
    with pytest.raises(IndexError):
        write_csvs(broken, tmp_path)
    assert (tmp_path / "requests.csv").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 3


def test_longest_gap_of_requests_without_tokens_between_others(tmp_path):
    requests = [done(0, 0, (1, 9)), rejected(0), done(0, 0, (2, 3, 7))]
    rows = read(make_run(requests), tmp_path, "requests")
    assert [row["max_tbt_ms"] and Decimal(row["max_tbt_ms"]) for row in rows] == [8, "", 4]
    assert Decimal(rows[2]["mean_tbt_ms"]) * MS == Decimal(5 * MS) / 2


def test_an_iteration_under_way_has_no_end(tmp_path):
    row = read(interrupted_run(), tmp_path, "iterations")[-1]
    assert (row["end_s"], row["free_s"], row["duration_ms"]) == ("", "", "")
    assert row["start_s"] == "0.010000000000"
