import json
from pathlib import Path

import pytest

from npusim.graph.params import active_parameter_count, kv_bytes_per_token, parameter_count
from npusim.spec.model import Model

MODELS = Path(__file__).parents[2] / "workloads" / "models"

# Parameters in billions, and where they are published
PUBLISHED = {
    "llama-2-7b": (6.738, "safetensors of meta-llama/Llama-2-7b-hf: 6.74B"),
    "llama-2-13b": (13.016, "safetensors of meta-llama/Llama-2-13b-hf: 13.0B"),
    "llama-2-70b": (68.977, "safetensors of meta-llama/Llama-2-70b-hf: 69.0B"),
    "llama-3.1-8b": (8.03, "safetensors of meta-llama/Llama-3.1-8B: 8.03B"),
    "llama-3.1-70b": (70.6, "safetensors of meta-llama/Llama-3.1-70B: 70.6B"),
    "llama-3.1-405b": (405.0, "arXiv 2407.21783, table 3: 405B"),
    "qwen3-1.7b": (1.7, "arXiv 2505.09388; model card of Qwen/Qwen3-1.7B: 1.7B"),
    "qwen3-4b": (4.0, "model card of Qwen/Qwen3-4B: 4.0B"),
    "qwen3-8b": (8.2, "model card of Qwen/Qwen3-8B: 8.2B"),
    "qwen3-14b": (14.8, "model card of Qwen/Qwen3-14B: 14.8B"),
    "qwen3-32b": (32.8, "model card of Qwen/Qwen3-32B: 32.8B"),
    "mistral-7b": (7.24, "safetensors of mistralai/Mistral-7B-v0.1: 7.24B"),
    "gemma-2-9b": (9.242, "arXiv 2408.00118, table 2: 918M embedding + 8,324M others"),
    "gpt-3-175b": (174.6, "arXiv 2005.14165, table D.1: 174,600M"),
    "llama-3.2-1b": (1.236, "safetensors of meta-llama/Llama-3.2-1B: 1.24B"),
    "llama-3.2-3b": (3.213, "safetensors of meta-llama/Llama-3.2-3B: 3.21B"),
    "codellama-34b": (33.744, "safetensors of codellama/CodeLlama-34b-hf: 33.7B"),
    "qwen2-72b": (72.706, "safetensors of Qwen/Qwen2-72B: 72.7B"),
    "gpt-j-6b": (6.053, "github.com/kingoflolz/mesh-transformer-jax: 6,053,381,344"),
    # 7.217 B in the safetensors of tiiuae/falcon-7b, which hold the tied table of 295 M twice
    "falcon-7b": (6.922, "safetensors of tiiuae/falcon-7b, the tied table once"),
    "mixtral-8x7b": (46.7, "mistral.ai/news/mixtral-of-experts: 46.7B"),
    "qwen3-30b-a3b": (30.5, "model card of Qwen/Qwen3-30B-A3B: 30.5B"),
    "deepseek-v3": (671.0, "arXiv 2412.19437: 671B, main model"),
}
# The Qwen3 model cards print these too, with more digits for their size than the totals have
NON_EMBEDDING = {
    "qwen3-1.7b": 1.4,
    "qwen3-4b": 3.6,
    "qwen3-8b": 6.95,
    "qwen3-14b": 13.2,
    "qwen3-32b": 31.2,
    "qwen3-30b-a3b": 29.9,
}
ACTIVE = {
    "deepseek-v3": (37.0, "arXiv 2412.19437: 37B"),
    "mixtral-8x7b": (12.9, "mistral.ai/news/mixtral-of-experts: 12.9B"),
    "qwen3-30b-a3b": (3.3, "model card of Qwen/Qwen3-30B-A3B: 3.3B"),
}
# layers * 2 * kv_heads * head_dim * 2 bytes; MLA: layers * (512 + 64) * 2
KV_BYTES = {
    "llama-2-7b": 32 * 2 * 32 * 128 * 2,
    "llama-3.1-70b": 80 * 2 * 8 * 128 * 2,
    "qwen3-30b-a3b": 48 * 2 * 4 * 128 * 2,
    "deepseek-v3": 61 * (512 + 64) * 2,
}


def model(name):
    return Model.from_config(json.loads((MODELS / f"{name}.json").read_text()), name)


def test_every_bundled_model_has_a_published_count():
    assert {path.stem for path in MODELS.glob("*.json")} == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_ones(name):
    # 1.7 stands for 1.72: where the print is coarser than one per cent, its last digit decides
    published = PUBLISHED[name][0]
    tolerance = max(0.01 * published, 0.05 if published < 5 else 0)
    assert parameter_count(model(name)) / 1e9 == pytest.approx(published, abs=tolerance)


@pytest.mark.parametrize("name", NON_EMBEDDING)
def test_non_embedding_parameters_of_qwen3(name):
    read = model(name)
    tables = (1 if read.tied_embeddings else 2) * read.vocab_size * read.hidden_size
    ours = (parameter_count(read) - tables) / 1e9
    assert ours == pytest.approx(NON_EMBEDDING[name], rel=0.01)


def test_parameters_to_the_last_one():
    """Counts that the checkpoints' own tensors add up to."""
    assert parameter_count(model("llama-3.1-8b")) == 8_030_261_248
    assert parameter_count(model("llama-2-7b")) == 6_738_415_616
    assert parameter_count(model("mistral-7b")) == 7_241_732_096
    assert parameter_count(model("gemma-2-9b")) == 9_241_705_984
    assert parameter_count(model("qwen3-8b")) == 8_190_735_360
    assert parameter_count(model("mixtral-8x7b")) == 46_702_792_704


@pytest.mark.parametrize("name", ACTIVE)
def test_active_parameters(name):
    read = model(name)
    # the sources count the embedding table or not; ours leaves it out
    table = read.vocab_size * read.hidden_size / 1e9
    ours, published = active_parameter_count(read) / 1e9, ACTIVE[name][0]
    assert 0.99 * ours <= published <= 1.01 * (ours + table)


def test_deepseek_active_is_what_its_weight_readme_says():
    """README_WEIGHTS.md of DeepSeek-V3-Base: 36.6B, with the 0.9B of the output head."""
    assert active_parameter_count(model("deepseek-v3")) / 1e9 == pytest.approx(36.6, abs=0.05)


@pytest.mark.parametrize("name", KV_BYTES)
def test_kv_bytes_per_token(name):
    assert kv_bytes_per_token(model(name)) == KV_BYTES[name]
    assert kv_bytes_per_token(model(name), "fp8") == KV_BYTES[name] // 2
