"""Malformed traces and slices: each gives one line with file, line, rule, value, nearest choice."""

import pytest

from npusim.errors import SpecError
from npusim.serving.traffic import requests_of
from npusim.serving.traffic.cells import MAX_FILE_BYTES
from npusim.spec.files import bundled
from npusim.spec.traffic import TraceTraffic

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
GOOD = "2023-11-16 18:17:03.9799600,48,10\n"
PLAIN = "arrival_s,prompt_tokens,output_tokens\n"
FULL = "arrival_s,prompt_tokens,output_tokens,priority,prefix_id,prefix_tokens\n"
STAMP = "TIMESTAMP must be a time such as 2023-11-16 18:17:03.9799600, not "
OK = '{"timestamp": 0, "input_length": 5, "output_length": 6, "hash_ids": [1]}\n'


def mooncake(**changed):
    values = {"timestamp": "0", "input_length": "5", "output_length": "6", "hash_ids": "[1]"}
    pairs = [f'"{key}": {value}' for key, value in {**values, **changed}.items() if value]
    return OK + "{" + ", ".join(pairs) + "}\n"


FILES = [
    ("azure", "", ": is empty"),
    ("mooncake", " \n\n", ": is empty"),
    ("azure", '""\n', ": is empty"),
    ("azure", AZURE, ": has no requests"),
    ("azure", AZURE.encode() + b"2023\xff,1,1\n", ":2: is not UTF-8 text"),
    ("mooncake", OK.encode() + b"\xc3", ":2: is not UTF-8 text"),
]
HEADERS = [
    (
        "azure",
        "TIMESTAMP,ContextToken,GeneratedTokens\n" + GOOD,
        ":1: column ContextTokens is missing; did you mean 'ContextToken'?",
    ),
    ("azure", "\n" + GOOD, ":2: column TIMESTAMP is missing; the columns are '2023-11-16 18:17:03."
     "9799600, 48, 10'"),
    ("csv", AZURE + GOOD, ":1: column arrival_s is missing; the columns are 'TIMESTAMP, "
     "ContextTokens, GeneratedTokens'"),
    ("csv", "arrival_s,prompt_tokens,arrival_s,output_tokens\n",
     ":1: column arrival_s must be there once, not 2 times"),
    ("csv", "arrival_s;prompt_tokens;output_tokens\n1;2;3\n",
     ":1: column arrival_s is missing; the columns are 'arrival_s;prompt_tokens;output_tokens'"),
]  # fmt: skip
AZURE_LINES = [
    ("2023-11-16 18:17:03.97996001234567,48,10", STAMP + "'2023-11-16 18:17:03.97996001234567'"),
    ("2023-02-29 00:00:00,48,10", STAMP + "'2023-02-29 00:00:00'"),
    ("2023-11-16 24:00:01,48,10", STAMP + "'2023-11-16 24:00:01'"),
    ("2023-11-16,48,10", STAMP + "'2023-11-16'"),
    ("17,48,10", STAMP + "'17'"),
    (",48,10", STAMP + "''"),
    ("2023-11-16 18:17:04,48", "must have 3 cells, as line 1, not 2"),
    ("2023-11-16 18:17:04,48,10,", "must have 3 cells, as line 1, not 4"),
    ("2023-11-16 18:17:04,0,10", "ContextTokens must be at least 1, not 0"),
    ("2023-11-16 18:17:04,48,0", "GeneratedTokens must be at least 1, not 0"),
    ("2023-11-16 18:17:04,48,-3", "GeneratedTokens must be at least 1, not -3"),
    ("2023-11-16 18:17:04,48,1.5", "GeneratedTokens must be a whole number, not '1.5'"),
    ("2023-11-16 18:17:04,,10", "ContextTokens must be a whole number, not ''"),
    ("2023-11-16 18:17:04,1_000,10", "ContextTokens must be a whole number, not '1_000'"),
    ("2023-11-16 18:17:04,10000001,1", "ContextTokens must be at most 10,000,000, not 10000001"),
    (
        "2023-11-16 18:17:04," + "9" * 5000 + ",1",
        "ContextTokens must be a whole number, not '999999999999999999999999999999999999...",
    ),
    ("x" * 200_000 + ",1,1", "is not CSV: field larger than field limit (131072)"),
]
PLAIN_LINES = [
    ("-1,2,3,,,", "arrival_s must be at least 0, not -1"),
    ("nan,2,3,,,", "arrival_s must be a number, not 'nan'"),
    ("1e99999,2,3,,,", "arrival_s must be a number, not '1e99999'"),
    ("1e9999,2,3,,,", "arrival_s must be at most 10,000,000,000, not 1E+9999"),
    ("1,2,3,-1,,", "priority must be at least 0, not -1"),
    ("1,2,3,64,,", "priority must be at most 63, not 64"),
    ("1,2,3,high,,", "priority must be a whole number, not 'high'"),
    ("1,2,3,0,a,", "prefix_tokens is missing; prefix_id needs it"),
    ("1,2,3,0,,1", "prefix_id is missing; prefix_tokens needs it"),
    ("1,2,3,0,a,0", "prefix_tokens must be at least 1, not 0"),
    ("1,2,3,0,a,3", "prefix_tokens must be at most prompt_tokens 2, not 3"),
    ("1,2,3,0,sys,1", "prefix_tokens of 'sys' must be 2, as in line 2, not 1"),
]
MOONCAKE_LINES = [
    (OK + "{", "is not JSON: Expecting property name enclosed in double quotes at column 2"),
    (OK + "[1]", "must be a mapping a line, not a list"),
    (OK + "[" * 100_000, "is not JSON: a number too long or nested too deep"),
    (mooncake(timestamp="1" * 5000), "is not JSON: a number too long or nested too deep"),
    (mooncake(timestamp="1e" + "9" * 30), "is not JSON: a number too long or nested too deep"),
    (
        OK + '{"time": 0}',
        "key timestamp is missing; did you mean 'time'?",
    ),
    (
        mooncake(hash_ids=""),
        "key hash_ids is missing; the keys are 'timestamp, input_length, output_length'",
    ),
    (mooncake(timestamp="-1"), "timestamp must be at least 0, not -1"),
    (mooncake(timestamp='"x"'), "timestamp must be a number, not 'x'"),
    (mooncake(timestamp="NaN"), "timestamp must be a number, not 'NaN'"),
    (mooncake(timestamp="null"), "timestamp must be a number, not nothing"),
    (mooncake(timestamp="true"), "timestamp must be a number, not true"),
    (mooncake(timestamp="1e14"), "timestamp must be at most 10,000,000,000,000, not 1E+14"),
    (mooncake(input_length="0"), "input_length must be at least 1, not 0"),
    (mooncake(input_length="5.5"), "input_length must be a whole number, not 5.5"),
    (mooncake(output_length="0"), "output_length must be at least 1, not 0"),
    (mooncake(output_length="false"), "output_length must be a whole number, not false"),
    (
        mooncake(input_length="513"),
        "hash_ids must be 2, one a block of 512 of its 513 tokens, not 1",
    ),
    (mooncake(hash_ids="[1, 2]"), "hash_ids must be 1, one a block of 512 of its 5 tokens, not 2"),
    (mooncake(hash_ids="3"), "hash_ids must be a list of whole numbers, not 3"),
    (mooncake(hash_ids="[1, true]"), "hash_ids must be a list of whole numbers, not true"),
    (mooncake(hash_ids='["a"]'), "hash_ids must be a list of whole numbers, not 'a'"),
]
LINES = [
    *(("azure", AZURE + GOOD + line, f":3: {text}") for line, text in AZURE_LINES),
    *(("csv", FULL + "0,9,9,0,sys,2\n" + line, f":3: {text}") for line, text in PLAIN_LINES),
    *(("mooncake", data, f":2: {text}") for data, text in MOONCAKE_LINES),
]


def error_of(path, kind, data, **keys):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(SpecError) as caught:
        requests_of(TraceTraffic(kind=kind, path=str(path), **keys), seed=0)
    return str(caught.value)


@pytest.mark.parametrize(("kind", "data", "text"), [*FILES, *HEADERS, *LINES])
def test_a_malformed_file(tmp_path, kind, data, text):
    path = tmp_path / "trace"
    assert error_of(path, kind, data) == f"{path}{text}"


TEN = PLAIN + "".join(f"{second},1,1\n" for second in range(10))
SLICES = [
    ({"skip": 10}, "must have 11 requests (skip + requests), not 10"),
    ({"skip": 8, "requests": 3}, "must have 11 requests (skip + requests), not 10"),
    ({"start_s": 9.5}, "must have 1 requests from start_s to end_s (skip + requests), not 0"),
    (
        {"start_s": 2.0, "end_s": 4.0, "requests": 3},
        "must have 3 requests from start_s to end_s (skip + requests), not 2",
    ),
]


@pytest.mark.parametrize(("keys", "text"), SLICES)
def test_a_slice_that_is_not_there(tmp_path, keys, text):
    path = tmp_path / "trace"
    assert error_of(path, "csv", TEN, **keys) == f"{path}: {text}"


def test_a_rate_of_requests_that_arrive_all_at_once(tmp_path):
    path = tmp_path / "trace"
    text = "cannot have rate_per_s 2: its requests arrive all at once"
    assert error_of(path, "csv", PLAIN + "3,1,1\n3,1,1\n", rate_per_s=2.0) == f"{path}: {text}"


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SpecError) as caught:
        requests_of(TraceTraffic(kind="csv", path="no_such.csv"), seed=0)
    assert str(caught.value) == "traffic.path: traffic file 'no_such.csv' is not there"
    with pytest.raises(SpecError) as caught:
        requests_of(TraceTraffic(kind="csv", path="azure_sampel"), seed=0)
    assert str(caught.value) == (
        f"traffic.path: traffic must be a file or one of {', '.join(bundled('traffic'))}, "
        "not 'azure_sampel'; did you mean 'azure_sample'?"
    )
    with pytest.raises(SpecError) as caught:
        requests_of(TraceTraffic(kind="csv", path=str(tmp_path)), seed=0)
    assert (
        str(caught.value) == f"traffic.path: traffic file {str(tmp_path)!r} is a folder, not a file"
    )


def test_a_file_that_is_too_long(tmp_path):
    path = tmp_path / "trace"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # a hole: takes no room
    with pytest.raises(SpecError) as caught:
        requests_of(TraceTraffic(kind="csv", path=str(path)), seed=0)
    assert str(caught.value) == f"{path}: must be at most 1,073,741,824 bytes"
