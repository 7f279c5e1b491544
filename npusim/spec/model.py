"""A HF `config.json` as a dict → `Model`: what the graph builder needs, under one set of names."""

from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from npusim.errors import SpecError, nearest
from npusim.spec.architectures import ARCHITECTURES, MODEL_TYPES
from npusim.spec.base import Spec
from npusim.spec.config_keys import MAX_LAYERS, MOST, Keys

Size = Annotated[int, Field(ge=1, le=MOST)]


class Mla(Spec):
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): K and V come from a latent of
    `kv_lora_rank`, which is cached beside one shared RoPE key. `q_lora_rank` 0: q is projected
    directly."""

    q_lora_rank: Annotated[int, Field(ge=0)] = 0
    kv_lora_rank: Size
    qk_nope_head_dim: Size
    qk_rope_head_dim: Size
    v_head_dim: Size


class Moe(Spec):
    """Mixture of experts: `top_k` of `num_experts` gated MLPs of width `expert_size` a token, and a
    shared one of width `shared_size`. It replaces the MLP in layers from `first_layer` on, each
    `frequency`-th counted from `offset`, but not in `dense_layers`."""

    num_experts: Size
    top_k: Size
    expert_size: Size
    shared_size: Annotated[int, Field(ge=0, le=MOST)] = 0
    shared_gate: bool = False
    router_bias: bool = False
    first_layer: int = 0
    frequency: Annotated[int, Field(ge=1)] = 1
    offset: int = 0
    dense_layers: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _enough_experts(self):
        if self.top_k > self.num_experts:
            raise ValueError(
                f"num_experts_per_tok {self.top_k} must not exceed the {self.num_experts} experts"
            )
        return self


class Model(Spec):
    """A decoder-only transformer. `parallel_residual`: attention and MLP both take the layer's
    input, with `shared_norm` through one norm. `windows[layer]` is its sliding window in tokens,
    0 = none (and empty = none anywhere); `position_rows` the rows of a learned position table."""

    name: str
    architecture: str
    hidden_size: Size
    num_layers: Annotated[int, Field(ge=1, le=MAX_LAYERS)]
    num_heads: Size
    num_kv_heads: Size
    head_dim: Size
    intermediate_size: Size
    vocab_size: Size
    max_positions: Size = MOST
    tied_embeddings: bool = False
    scaled_embedding: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    post_norms: bool = False
    qk_norm: bool = False
    parallel_residual: bool = False
    shared_norm: bool = False
    activation: Literal["silu", "gelu", "relu"] = "silu"
    gated: bool = True
    position: Literal["rope", "learned"] = "rope"
    position_rows: Annotated[int, Field(ge=0)] = 0
    rotary_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    score_softcap: bool = False
    logit_softcap: bool = False
    windows: tuple[int, ...] = ()
    moe: Moe | None = None
    mla: Mla | None = None

    @model_validator(mode="after")
    def _heads_divide(self):
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"num_attention_heads {self.num_heads} must be a multiple of "
                f"num_key_value_heads {self.num_kv_heads}"
            )
        if self.windows and len(self.windows) != self.num_layers:
            raise ValueError(
                f"windows lists {len(self.windows)} layers, the model has {self.num_layers}"
            )
        return self

    def window(self, layer: int) -> int:
        """Tokens that a query of `layer` may look back at, itself included; 0 = all."""
        return self.windows[layer] if self.windows else 0

    def is_moe(self, layer: int) -> bool:
        """Whether the MLP of `layer` is a mixture of experts."""
        moe = self.moe
        if moe is None or layer < moe.first_layer or layer in moe.dense_layers:
            return False
        return (layer - moe.offset) % moe.frequency == 0

    @property
    def rotary_dim(self) -> int:
        """Dimensions of a head that RoPE turns, always even."""
        return int(self.head_dim * self.rotary_fraction) // 2 * 2

    @classmethod
    def from_config(
        cls, config: dict, name: str = "model", overrides: dict[str, object] | None = None
    ) -> "Model":
        """Reads the keys of a HF `config.json`, with `overrides` of its keys applied last.

        Raises SpecError, with `name` as its place, for an unknown architecture (it lists the known
        ones), a missing, mistyped or negative key, a broken rule, or an override of no known key.
        """
        try:
            return _read(config, name, dict(overrides or {}))
        except SpecError as error:
            raise SpecError(error.message, error.place or name) from None
        except ValidationError as error:
            raise SpecError(_first_line(error), name) from None


def _read(config: dict, name: str, overrides: dict[str, object]) -> Model:
    if not isinstance(config, dict):
        raise SpecError(f"a model's config must be a JSON object, not {type(config).__name__}")
    flat = _flatten(config) | overrides
    architecture = _architecture(flat)
    keys = Keys(flat)
    fields = ARCHITECTURES[architecture](keys)
    for key in overrides:
        if key not in keys.used and key not in _flatten(config):
            raise SpecError(f"model key {key!r} is not known{nearest(key, keys.used)}")
    return Model(name=name, architecture=architecture, **fields)


def _flatten(config: dict) -> dict:
    """The language model's keys on top: multi-modal configs nest them in `text_config`.

    Assumes that vision and audio towers are not run.
    """
    text = config.get("text_config")
    if not isinstance(text, dict):
        return config
    given = {key: value for key, value in text.items() if value is not None}
    names = {"architectures": given.get("architectures")} if "model_type" in given else {}
    return {key: value for key, value in config.items() if key != "text_config"} | given | names


def _architecture(config: dict) -> str:
    """Key of ARCHITECTURES by `architectures[0]`, else by `model_type`."""
    listed = config.get("architectures")
    names = listed if isinstance(listed, list) else [listed]
    if names and names[0] is not None and not isinstance(names[0], str):
        raise SpecError(f"architectures must list names, not {names[0]!r}")
    model_type = config.get("model_type")
    if names and names[0] in ARCHITECTURES:
        return names[0]
    if isinstance(model_type, str) and model_type in MODEL_TYPES and not names[0]:
        return MODEL_TYPES[model_type]
    given = names[0] if names and names[0] else model_type
    if given is None:
        raise SpecError("the model's config needs the key 'architectures' (or 'model_type')")
    known = ", ".join(sorted(ARCHITECTURES))
    raise SpecError(
        f"architecture {given!r} is not known{nearest(given, ARCHITECTURES)}; known are {known}"
    )


def _first_line(error: ValidationError) -> str:
    """The first thing pydantic found, as `field: rule`."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    text = first["msg"].removeprefix("Value error, ")
    return f"{place} {first.get('input')!r}: {text}" if place else text
