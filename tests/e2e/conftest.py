"""A tiny chip and model in a folder of their own, and the command line run in this process."""

import json
from dataclasses import dataclass

import pytest
from serve_files import write_scenario

from npusim.cli.app import exit_code

CHIP = """\
name: tiny
mesh: {rows: 2, columns: 2}
core_groups:
  - name: all
    core:
      clock_mhz: 1000
      arrays: {rows: 16, columns: 16}
      vector: {lanes: 16}
      sfu: {lanes: 4}
      scratchpad: {capacity_mib: 1}
memories:
  - name: hbm
    capacity_gib: 1
    channels: 2
    timing: {channel_gb_s: 16, t_rcd_ns: 14, t_rp_ns: 14, t_cl_ns: 14, t_ras_ns: 33}
noc: {clock_mhz: 1000, link_bytes_per_cycle: 32}
"""
MODEL = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}
SCENARIO = """\
hw: chip.yaml
model: model.json
workload: {kind: llm, phase: prefill, batch: 1, prompt_tokens: 32}
parallel: {tp: 4}
"""


@dataclass(frozen=True)
class Outcome:
    """Exit code, standard output and standard error of one command."""

    code: int
    out: str
    err: str


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder: chip.yaml, model.json, llm.yaml."""
    (tmp_path / "chip.yaml").write_text(CHIP)
    (tmp_path / "model.json").write_text(json.dumps(MODEL))
    (tmp_path / "llm.yaml").write_text(SCENARIO)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def npusim(capfd):
    """Runs `npusim ARGUMENTS` in this process."""

    def command(*arguments: str) -> Outcome:
        capfd.readouterr()
        code = exit_code([str(a) for a in arguments])
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return command


@pytest.fixture
def serve(folder, npusim):
    """Runs `npusim serve` with the scenario of serve_files.py."""
    write_scenario(folder)

    def run(*arguments, code=0):
        done = npusim("serve", "serve.yaml", *arguments)
        assert done.code == code, (done.out, done.err)
        return done

    return run
