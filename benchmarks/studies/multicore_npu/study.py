"""Settings of the multi-core NPU study → overrides of bundled files, and runs of them.

Source unless a line says otherwise: Zhu et al., "From Principles to Practice: A Systematic Study of
LLM Serving on Multi-core NPUs", arXiv 2510.05632v1, Table 3, and the configuration files of the
authors' simulator (IPADS-SAI/WaferAI-SIM, Dec 2025).
"""

from npusim.simulate import simulate
from npusim.spec.load import load_scenario, resolve
from npusim.trace import Run

CHANNEL_GB_S = 15  # of npu_large_core's memory: 30 to 480 GB/s are whole channels
CORE = "hw.core_groups.large.core"
HEAD_DIM = 128
# model: hidden size, FFN width, heads, layers (the published Qwen3 configs)
MODELS = {
    "1.7B": (2048, 6144, 16, 28),
    "4B": (2560, 9728, 32, 36),
    "8B": (4096, 12288, 32, 36),
    "14B": (5120, 17408, 40, 40),
    "32B": (5120, 25600, 64, 64),
}
# Two chips of the sheet that the released program was run on, see published/README.md.
CHIP_A = {"array": 64, "sram_mib": 32, "hbm_gb_s": 60, "link_gb_s": 160}
CHIP_B = {"array": 64, "arrays": 4, "sram_mib": 128, "hbm_gb_s": 999, "link_gb_s": 160}
INT8 = ["dtype={weights: int8, activations: int8, kv: int8}"]  # the study's data type


def layer_weights(model: str) -> int:
    """Elements of the weights of one layer of the study's block."""
    hidden, ffn, heads, _ = MODELS[model]
    return 4 * heads * HEAD_DIM * hidden + 2 * hidden * ffn


def chip(
    array: int = 128,
    arrays: int = 1,
    sram_mib: int = 32,
    hbm_gb_s: float = 60,
    link_gb_s: int = 160,
) -> list[str]:
    """Overrides that make `npu_large_core` a chip of the study: `arrays` of `array` x `array` a
    core. Vector lanes, special functions and scratchpad width grow with the arrays (Table 3)."""
    width = array * arrays
    channels = max(1, round(hbm_gb_s / CHANNEL_GB_S))
    return [
        f"{CORE}.arrays.rows={array}",
        f"{CORE}.arrays.columns={array}",
        f"{CORE}.arrays.count={arrays}",
        f"{CORE}.vector.lanes={width}",
        f"{CORE}.sfu.lanes={16 * width}",
        f"{CORE}.scratchpad.capacity_mib={sram_mib}",
        f"{CORE}.scratchpad.bank_bytes_per_cycle={max(1, width // 2)}",
        f"hw.memories.hbm.channels={channels}",
        f"hw.memories.hbm.timing.channel_gb_s={hbm_gb_s / channels}",
        f"hw.noc.link_bytes_per_cycle={2 * link_gb_s}",  # at 500 MHz
    ]


def block(name: str, layers: int | None = None) -> list[str]:
    """Overrides that turn bundled `qwen3-NAME` into the study's simplified block of the same
    dimensions: K and V for every head, two FFN matrices, GELU, no rotary embedding.

    GPT-NeoX is the bundled architecture of that shape. Its biases and LayerNorm add under 0.1 % of
    bytes and no message. The vocabulary is 16, for the study runs no embedding and no LM head.
    """
    _, _, heads, num_layers = MODELS[name]
    return [
        "model.architectures=[GPTNeoXForCausalLM]",
        "model.use_parallel_residual=false",
        "model.hidden_act=gelu",
        "model.rotary_pct=0.01",  # of 128 dimensions: none
        f"model.num_key_value_heads={heads}",
        f"model.num_hidden_layers={layers or num_layers}",
        "model.vocab_size=16",
    ]


def mapping(
    partition: str,
    tp: int = 4,
    pp: int = 16,
    placement: str = "ring",
    collective: str = "ring",
) -> list[str]:
    """Overrides of the mapping: a tensor-parallel group a pipeline stage."""
    return [
        f"parallel={{tp: {tp}, pp: {pp}, partition: {partition}, collective: {collective}}}",
        f"placement={placement}",
        *INT8,
    ]


def generate(prompt_tokens: int, output_tokens: int) -> list[str]:
    """A whole answer to one request. `reuse` interpolates between simulated decode steps."""
    lengths = f"prompt_tokens: {prompt_tokens}, output_tokens: {output_tokens}"
    return [f"workload={{kind: llm, phase: generate, batch: 1, {lengths}}}", "reuse=true"]


def prefill(prompt_tokens: int) -> list[str]:
    return [f"workload={{kind: llm, phase: prefill, batch: 1, prompt_tokens: {prompt_tokens}}}"]


def decode(context_tokens: int, batch: int = 1) -> list[str]:
    lengths = [f"workload.context_tokens={context_tokens}", f"workload.batch={batch}"]
    return ["workload.phase=decode", *lengths]


def run(overrides: list[str], model: str = "4B") -> Run:
    """Simulates the quickstart with overrides, on a Qwen3 model (unused by micro-operations)."""
    return simulate(resolve(load_scenario(None, overrides, model=f"qwen3-{model.lower()}")))


def ms(time_ps: float) -> float:
    return time_ps / 1e9


def spills(found: Run) -> str:
    """What the run says of activations that did not fit the scratchpad; empty when they do."""
    return next((note for note in found.notes if note.startswith("activations:")), "")
