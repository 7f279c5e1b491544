"""`data/measured.csv` → rows with what npusim calls their chip, model and data types.

Assumes what a row leaves open: lengths are uniform, Llama-3-8B has the shape of Llama-3.1-8B and
"LLaMA-7B" that of Llama-2-7B, fp8 is the type of weights, activations and KV alike, fp4 that of
weights and activations with KV in fp8, and bfp8 (Tenstorrent's block floating point) costs what
fp8 does. With fp8 and fp4 the residual stream counts as that too (it has 16 bit on the chip), which
favours ours in prompts.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

from npusim.validate.data import read_rows

CHIPS = {
    "A100-SXM-80GB": "a100_sxm_80",
    "A100-SXM4-80GB": "a100_sxm_80",
    "A100-80GB": "a100_sxm_80",
    "A100": "a100_sxm_80",
    "A100-SXM": "a100_sxm_40",  # LLM-Inference-Bench: see the notes of its rows
    "H100-SXM-80GB": "h100_sxm",
    "H100-80GB": "h100_sxm",
    "H200-SXM-141GB": "h200_sxm",
    "L40S": "l40s",
    "RTX6000Pro-BSE": "rtx_6000_pro",
    "Gaudi2": "gaudi2",
    "n150": "wormhole_n150",
}
MESH_CORES = {"wormhole_n150": 64}  # cores that a model is cut over, where a chip is a mesh
# tt-metal multiplies prompts in two-dimensional blocks
MESH_PREFILL = ("parallel.partition=mnk",)
MODELS = {
    "GPT-J-6B": "gpt-j-6b",
    "LLaMA-7B": "llama-2-7b",
    "Llama-2-7B": "llama-2-7b",
    "Llama-2-13B": "llama-2-13b",
    "Llama-2-70B": "llama-2-70b",
    "Llama-3-8B": "llama-3.1-8b",
    "Llama-3.1-8B": "llama-3.1-8b",
    "Llama-3-70B": "llama-3.1-70b",
    "Llama-3.3-70B": "llama-3.1-70b",
    "Llama-3.2-1B": "llama-3.2-1b",
    "Llama-3.2-3B": "llama-3.2-3b",
    "CodeLlama-34B": "codellama-34b",
    "Qwen2-72B": "qwen2-72b",
    "Mixtral-8x7B": "mixtral-8x7b",
    "Qwen3-30B-A3B": "qwen3-30b-a3b",
    "Falcon-7B": "falcon-7b",
}
DTYPES = {
    "fp16": ("fp16", "fp16", "fp16"),
    "bf16": ("bf16", "bf16", "bf16"),
    "fp8": ("fp8", "fp8", "fp8"),
    "fp4": ("fp4", "fp4", "fp8"),
    "bfp8/bfp4": ("fp8", "bf16", "fp8"),
}


@dataclass(frozen=True)
class Served:
    """A model on its chips: what all iterations of a row share. Names are npusim's own."""

    chip: str
    model: str
    dtypes: tuple[str, str, str]  # weights, activations, KV
    tp: int = 1
    pp: int = 1
    ep: int = 1
    overrides: tuple[str, ...] = ()  # `--set` texts


@dataclass(frozen=True)
class Row:
    """A published figure. `batch` is as printed (`64`, `max`, `conc25`); lengths in tokens."""

    source: str
    hardware: str
    num_chips: int
    model: str
    dtype: str
    layout: str
    batch: str
    input_tokens: int
    output_tokens: int
    metric: str
    value: float
    unit: str

    @property
    def name(self) -> str:
        """Unique within a source and metric."""
        lengths = f"{self.input_tokens}/{self.output_tokens}"
        return f"{self.hardware} {self.model} {self.dtype} {self.layout} b{self.batch} {lengths}"

    @property
    def served(self) -> Served:
        """KeyError where npusim has no such chip or model."""
        chip, degrees = CHIPS[self.hardware], _degrees(self.layout)
        if chip in MESH_CORES:
            degrees["tp"] = MESH_CORES[chip]
        overrides = MESH_PREFILL if chip in MESH_CORES and self.metric == "ttft" else ()
        dtypes = DTYPES[self.dtype.rstrip("?")]
        return Served(chip, MODELS[self.model], dtypes, overrides=overrides, **degrees)


def _degrees(layout: str) -> dict[str, int]:
    """`TP1PP4` → {"tp": 1, "pp": 4}; what follows a blank is the name of a software."""
    found, name = {}, ""
    for piece in _pieces(layout.split(" ")[0]):
        if piece.isdigit():
            found[name.lower()] = int(piece)
        else:
            name = piece
    degrees = {key: value for key, value in found.items() if key in ("tp", "pp", "ep")}
    if "ep" in degrees:  # TensorRT-LLM: as many chips share attention as share the experts
        degrees["tp"] = max(degrees["ep"], degrees.get("tp", 1))
    return degrees


def _pieces(text: str) -> list[str]:
    pieces: list[str] = []
    for char in text:
        if pieces and pieces[-1].isdigit() == char.isdigit():
            pieces[-1] += char
        else:
            pieces.append(char)
    return pieces


def use_of(is_fit: bool) -> Literal["report", "fit"]:
    """What a comparison is counted under."""
    return "fit" if is_fit else "report"


@cache
def read_measured() -> tuple[Row, ...]:
    """Every row of the table, those that npusim cannot simulate among them."""
    return tuple(_row(cells) for cells in read_rows("measured.csv"))


def _row(cells: dict[str, str]) -> Row:
    return Row(
        source=cells["source"],
        hardware=cells["hardware"],
        num_chips=int(cells["devices"]),
        model=cells["model"],
        dtype=cells["dtype"],
        layout=cells["parallelism_or_layout"],
        batch=cells["batch"],
        input_tokens=_tokens(cells["input_len"]),
        output_tokens=_tokens(cells["output_len"]),
        metric=cells["metric"],
        value=float(cells["value"]),
        unit=cells["unit"],
    )


def _tokens(text: str) -> int:
    return int(text) if text.isdigit() else 0
