"""Scenarios and overrides that cannot be: each gives one line with place, rule and value."""

import pytest

from npusim.errors import SpecError
from npusim.spec.load import bundled, load_model, load_scenario, resolve

HARDWARE = ", ".join(sorted(bundled("hardware")))
DTYPES = "fp32, fp16, bf16, fp8, int8, int4, fp4"
KINDS = "llm, serve, gemm, transfer, collective, memory"
OPS = "all_reduce, all_gather, reduce_scatter, all_to_all, broadcast"

SYNTAX = [
    ("x", "--set: must be KEY=VALUE, not 'x'"),
    ("=3", "--set: must be KEY=VALUE, not '=3'"),
    ("a..b=3", "--set a..b: key must be names joined by dots, not 'a..b'"),
    (
        "seed=[1",
        "--set seed: is not YAML: while parsing a flow sequence, expected ',' or ']', "
        "but got '<stream end>'",
    ),
    ("seed=.nan", "--set seed: numbers must be finite, not .nan"),
    ("seed=!x 3", "--set seed: must not use tags such as !x"),
    ("seed={a: 1, a: 2}", "--set seed: duplicate key 'a'"),
]
KEYS = [
    ("wrkload.x=1", "--set wrkload.x: unknown key wrkload; did you mean 'workload'?"),
    (
        "workload.promt_tokens=1",
        "--set workload.promt_tokens: unknown key workload.promt_tokens; "
        "did you mean 'prompt_tokens'?",
    ),
    (
        "workload.prompt_tokens.x=1",
        "--set workload.prompt_tokens.x: 'x' is below 256, which has no keys",
    ),
    (
        "hw.noc.clok_mhz=1",
        "--set hw.noc.clok_mhz: unknown key noc.clok_mhz; did you mean 'clock_mhz'?",
    ),
    (
        "hw.memories.hbn.channels=4",
        "--set hw.memories.hbn.channels: list item must be one of hbm, 0, not 'hbn'; "
        "did you mean 'hbm'?",
    ),
    (
        "hw.memories.7.channels=4",
        "--set hw.memories.7.channels: list item must be one of hbm, 0, not '7'",
    ),
    (
        "hw.mesh.rows.x=64",
        "--set hw.mesh.rows.x: 'x' is below 8, which has no keys",
    ),
    (
        "model.num_hidden_layrs=2",
        "--set model.num_hidden_layrs: model key 'num_hidden_layrs' is not known; "
        "did you mean 'num_hidden_layers'?",
    ),
]
VALUES = [
    ("seed=-1", "--set seed: seed must be at least 0, not -1"),
    ("seed=0.5", "--set seed: seed must be a whole number, not 0.5"),
    ("seed=", "--set seed: seed must be a whole number, not nothing"),
    ("reuse=1", "--set reuse: reuse must be true or false, not 1"),
    (
        "engine=fas",
        "--set engine: engine must be one of fast, simpy, not 'fas'; did you mean 'fast'?",
    ),
    ("dtype=int8", "--set dtype: dtype must be a mapping, not 'int8'"),
    (
        "dtype.kv=int7",
        f"--set dtype.kv: dtype.kv must be one of {DTYPES}, not 'int7'; did you mean 'int8'?",
    ),
    ("parallel.tp=0", "--set parallel.tp: parallel.tp must be at least 1, not 0"),
    ("parallel.tp=true", "--set parallel.tp: parallel.tp must be a whole number, not true"),
    ("parallel.grid=[2]", "--set parallel.grid: parallel.grid must have at least 2 items"),
    ("hw_overrides=3", "--set hw_overrides: hw_overrides must be a mapping, not 3"),
    ("hw=3", "--set hw: hw must be text, not 3"),
    ("hw=nope", f"--set hw: hardware must be a file or one of {HARDWARE}, not 'nope'"),
    ("hw.noc=3", "--set hw.noc: noc must be a mapping, not 3"),
    ("model=", "--set model: model is missing; workload kind llm needs it"),
    (
        "hw.memories.0.channels=-4",
        "--set hw.memories.0.channels: memories.0.channels must be at least 1, not -4",
    ),
    (
        "fidelity.noc=x",
        "--set fidelity.noc: fidelity.noc must be one of transaction, analytic, not 'x'",
    ),
]
WORKLOADS = [
    ("workload=3", "--set workload: workload must be a mapping, not 3"),
    (
        "workload.kind=gem",
        f"--set workload.kind: workload.kind must be one of {KINDS}, not 'gem'; "
        "did you mean 'gemm'?",
    ),
    (
        "workload.phase=decod",
        "--set workload.phase: workload.phase must be one of prefill, decode, generate, "
        "not 'decod'; did you mean 'decode'?",
    ),
    (
        "workload={kind: gemm, m: 1, k: 2}",
        "--set workload: workload.n is missing",
    ),
    (
        "workload={kind: gemm, m: 0, k: 2, n: 2}",
        "--set workload: workload.m must be at least 1, not 0",
    ),
    (
        "workload={kind: transfer, src: 0, dst: 0, bytes: 3}",
        "workload.dst must differ from workload.src, not 0",
    ),
    (
        "workload={kind: transfer, src: 0, dst: [9, 9], bytes: 3}",
        "workload.dst: core [9, 9] is outside the 8x8 mesh",
    ),
    (
        "workload={kind: transfer, src: 64, dst: 0, bytes: 3}",
        "workload.src: core 64 is outside the 8x8 mesh",
    ),
    (
        "workload={kind: transfer, src: 0, dst: 1.5, bytes: 3}",
        "--set workload: workload.dst must be a core id or [row, column], not 1.5",
    ),
    (
        "workload={kind: transfer, src: 0, dst: [1, 2, 3], bytes: 3}",
        "--set workload: workload.dst must be a core id or [row, column], not [1, 2, 3]",
    ),
    (
        "workload={kind: transfer, src: 0, dst: 1, bytes: 1e11}",
        "--set workload: workload.bytes must be at most 17,179,869,184, not 100000000000",
    ),
    (
        "workload={kind: transfer, src: 0, dst: 1, bytes: 0}",
        "--set workload: workload.bytes must be at least 1, not 0",
    ),
    (
        "workload={kind: collective, op: allreduce, bytes: 3}",
        f"--set workload: workload.op must be one of {OPS}, not 'allreduce'; "
        "did you mean 'all_reduce'?",
    ),
    (
        "workload={kind: collective, op: broadcast, bytes: 3, cores: [1]}",
        "workload.cores must be at least 2 for a collective, not 1",
    ),
    (
        "workload={kind: collective, op: broadcast, bytes: 3, cores: [1, [0, 1]]}",
        "workload.cores must not repeat a core, not [1, 1]",
    ),
    ("workload={kind: memory, bytes: 3, cores: []}", "workload.cores must not be empty"),
    (
        "workload={kind: memory, bytes: 3, memory: hbn}",
        "workload.memory must be one of hbm, not 'hbn'; did you mean 'hbm'?",
    ),
    (
        "workload={kind: memory, bytes: 3, core: 1, cores: [2]}",
        "--set workload: workload.core does not go with cores; give one of the two",
    ),
    (
        "workload={kind: memory, bytes: 3, read_fraction: 1.5}",
        "--set workload: workload.read_fraction must be at most 1, not 1.5",
    ),
    (
        "workload={kind: memory, bytes: 3, span_bytes: 64}",
        "--set workload: workload.span_bytes must be at least request_bytes 4096, not 64",
    ),
    (
        "workload.requests=[[1, 2], [3]]",
        "--set workload.requests: workload.requests.1 must have at least 2 items",
    ),
]


@pytest.mark.parametrize(("text", "error"), SYNTAX + KEYS + VALUES + WORKLOADS)
def test_override_is_refused_in_one_line(folder, text, error):
    with pytest.raises(SpecError) as caught:
        resolve(load_scenario(None, [text]))
    assert str(caught.value) == error
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "base: quickstart\nworkload:\n  promt_tokens: 3\n",
            "s.yaml:3: unknown key workload.promt_tokens; did you mean 'prompt_tokens'?",
        ),
        (
            "base: quickstart\nhw: npu_lage_core\n",
            f"s.yaml:2: hardware must be a file or one of {HARDWARE}, not 'npu_lage_core'; "
            "did you mean 'npu_large_core'?",
        ),
        (
            "hw: npu_large_core\nworkload: {m: 1, k: 1, n: 1}\n",
            f"s.yaml:2: workload.kind is missing; it must be one of {KINDS}",
        ),
        ("hw: npu_large_core\n", "s.yaml:1: workload is missing"),
        ("base: s.yaml\n", "s.yaml:1: base 's.yaml' leads back to itself"),
    ],
)
def test_scenario_file_is_refused_with_its_line(folder, text, error):
    (folder / "s.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        load_scenario("s.yaml")
    assert str(caught.value) == error


def test_options_name_themselves(folder):
    with pytest.raises(SpecError, match=r"^--hw: hardware file 'x/y' is not there$"):
        load_scenario(hw="x/y")
    with pytest.raises(SpecError, match=r"^--model: model must .*; did you mean 'qwen3-4b'"):
        load_scenario(model="qwen-4b")
    with pytest.raises(SpecError, match=r"^scenario must .*; did you mean 'quickstart'"):
        load_scenario("quickstrt")
    with pytest.raises(SpecError, match=r"^scenario must .*, not ''$"):
        load_scenario("")  # an unset variable of a shell is not a wish for the quickstart


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "m.json: is empty"),
        ("{", "m.json:1: is not JSON: Expecting property name"),
        ('{\n"a": 1\n"b": 2}', "m.json:3: is not JSON: Expecting ',' delimiter"),
        ("[1]", "m.json:1: must be a mapping at the top, not a list"),
        ('{"a": 1,\n"a": 2}', "m.json:2: duplicate key 'a'"),
        ('{"a": NaN}', "numbers must be finite|architectures"),
        ("[" * 100_000, "m.json: is not JSON: nested too deep"),
    ],
)
def test_model_file_is_refused_with_its_line(folder, text, error):
    (folder / "m.json").write_text(text)
    with pytest.raises(SpecError, match=error):
        load_model("m.json")


def test_error_of_a_model_key_has_its_line(folder):
    (folder / "m.json").write_text(
        '{"architectures": ["LlamaForCausalLM"],\n"num_attention_heads": 4,\n"hidden_size": -64}'
    )
    with pytest.raises(SpecError, match=r"^m\.json:3: hidden_size must be"):
        load_model("m.json")
