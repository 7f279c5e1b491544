"""`--fidelity` on the command line: levels, both of them compared, and what is refused."""

import json

import pytest

MICRO = {
    "gemm": "{kind: gemm, m: 64, k: 64, n: 64}",
    "transfer": "{kind: transfer, src: [0, 0], dst: [1, 1], bytes: 65536}",
    "collective": "{kind: collective, op: all_reduce, bytes: 16384}",
    "memory": "{kind: memory, pattern: random, bytes: 65536, read_fraction: 0.5}",
    "generate": "{kind: llm, phase: generate, prompt_tokens: 8, output_tokens: 3}",
}


def case(folder, workload):
    model = "model: model.json\n" if "llm" in workload else ""
    (folder / "case.yaml").write_text(f"hw: chip.yaml\n{model}workload: {workload}\n")
    return "case.yaml"


@pytest.mark.parametrize("name", MICRO)
def test_both_levels_of_every_kind_of_workload(name, folder, npusim):
    file = case(folder, MICRO[name])
    done = npusim("run", file, "--fidelity", "both", "--json")
    assert done.code == 0, done.err
    both = json.loads(done.out)
    alone = {
        level: json.loads(npusim("run", file, "--fidelity", level, "--json").out)
        for level in ("transaction", "analytic")
    }
    found = both["fidelity"]
    assert (found["memory"], found["noc"]) == ("analytic", "analytic")
    for level, result in alone.items():
        assert found[f"{level}_ps"] == result["totals"]["makespan_ps"]
        assert result["fidelity"] is None and all(check["ok"] for check in result["checks"])
    assert [i["transaction_ps"] for i in found["iterations"]] == [
        i["makespan_ps"] for i in both["iterations"]
    ]
    assert all(found[f"{level}_cpu_s"] > 0 for level in alone)
    del both["fidelity"], alone["transaction"]["fidelity"]
    assert both == alone["transaction"]


def test_the_table_and_the_files_say_which_level_they_show(folder, npusim):
    extra = ("--out", "out", "--trace", "t.json.gz")
    done = npusim("run", "llm.yaml", "--fidelity", "both", *extra)
    assert done.code == 0, done.err
    assert "Fidelity: every transaction against analytic memory and noc" in done.out
    assert "error or speed-up" in done.out
    assert "timeline show the transaction level" in done.out
    result = json.loads((folder / "out" / "result.json").read_text())
    assert result["scenario"]["fidelity"] == {"memory": "transaction", "noc": "transaction"}
    assert result["fidelity"]["iterations"][0]["label"] == "prefill"


def test_one_subsystem_can_be_compared_alone(npusim, folder):
    done = npusim("run", "llm.yaml", "--fidelity", "both", "--set", "fidelity.noc=analytic")
    assert done.code == 0, done.err
    assert "Fidelity: every transaction against analytic noc" in done.out


def test_an_analytic_run_says_so(npusim, folder):
    done = npusim("run", "llm.yaml", "--fidelity", "analytic")
    assert done.code == 0, done.err
    assert "- fidelity: memory analytic, noc analytic" in done.out


def test_reuse_goes_with_both(npusim, folder):
    many = ("--set", "model.num_hidden_layers=12", "--reuse", "--json")
    done = npusim("run", "llm.yaml", "--fidelity", "both", *many)
    assert done.code == 0, done.err
    assert json.loads(done.out)["fidelity"]["analytic_ps"] > 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--fidelity", "cycle"), "must be one of analytic, both, transaction, not 'cycle'"),
        (
            ("--fidelity", "analytic", "--set", "fidelity.noc=transaction"),
            "--fidelity: analytic is for memory and noc, leave out --set fidelity.noc",
        ),
        (("--set", "fidelity.memory=both"), "must be one of transaction, analytic, not 'both'"),
        (("--set", "fidelity=both"), "fidelity"),
    ],
)
def test_nonsense_is_refused_in_one_line(arguments, text, folder, npusim):
    done = npusim("run", "llm.yaml", *arguments)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1 and text in done.err, done.err
