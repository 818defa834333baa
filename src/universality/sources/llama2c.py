"""llama2.c checkpoints, and their conversion to a Hugging Face directory.

The format (legacy, version 0): a header of seven int32 and then float32 matrices, layer by layer
inside each kind. github.com/karpathy/llama2.c
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from universality.core.errors import InputError

_HEADER_BYTES = 7 * 4


@dataclass(frozen=True)
class Llama2cConfig:
    """The header of a checkpoint; `tied` says that the unembedding is the embedding."""

    dim: int
    hidden_dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    vocab_size: int
    seq_len: int
    tied: bool

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.dim // self.n_heads

    @property
    def kv_dim(self) -> int:
        """Width of all key (or value) heads together."""
        return self.head_dim * self.n_kv_heads

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every array, in the order of the file."""
        layers, dim, hidden = self.n_layers, self.dim, self.hidden_dim
        rotary = (self.seq_len, self.head_dim // 2)
        shapes: dict[str, tuple[int, ...]] = {
            "embedding": (self.vocab_size, dim),
            "attention_norm": (layers, dim),
            "q": (layers, dim, dim),
            "k": (layers, self.kv_dim, dim),
            "v": (layers, self.kv_dim, dim),
            "o": (layers, dim, dim),
            "mlp_norm": (layers, dim),
            "gate": (layers, hidden, dim),
            "down": (layers, dim, hidden),
            "up": (layers, hidden, dim),
            "final_norm": (dim,),
            "rotary_cos": rotary,
            "rotary_sin": rotary,
        }
        if not self.tied:
            shapes["unembedding"] = (self.vocab_size, dim)
        return shapes


def read_checkpoint(path: Path) -> tuple[Llama2cConfig, dict[str, np.ndarray]]:
    """Read header and arrays (memory-mapped); a file of another size is an `InputError`."""
    header = np.fromfile(path, dtype="<i4", count=7)
    if header.size < 7:
        raise InputError(f"{path}: {path.stat().st_size} bytes are too few for a llama2.c header")
    config = _config(path, [int(value) for value in header])
    shapes = config.shapes()
    expected = _HEADER_BYTES + 4 * sum(int(np.prod(shape)) for shape in shapes.values())
    if path.stat().st_size != expected:
        raise InputError(
            f"{path}: {path.stat().st_size} bytes, but its llama2.c header asks for {expected}"
        )
    flat = np.memmap(path, dtype="<f4", mode="r", offset=_HEADER_BYTES)
    arrays, start = {}, 0
    for name, shape in shapes.items():
        stop = start + int(np.prod(shape))
        arrays[name] = flat[start:stop].reshape(shape)
        start = stop
    return config, arrays


def _config(path: Path, header: list[int]) -> Llama2cConfig:
    dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len = header
    positive = min(dim, hidden_dim, n_layers, n_heads, n_kv_heads, abs(vocab_size), seq_len) > 0
    # The upper bound keeps a random header from passing for a model of terabytes.
    if (
        not positive
        or max(map(abs, header)) > 1 << 24
        or dim % (2 * n_heads)
        or (n_heads % n_kv_heads)
    ):
        raise InputError(f"{path}: {header} is not a llama2.c header")
    tied = vocab_size > 0
    return Llama2cConfig(
        dim, hidden_dim, n_layers, n_heads, n_kv_heads, abs(vocab_size), seq_len, tied
    )


def half_split(weight: np.ndarray, head_dim: int) -> np.ndarray:
    """Reorder the rows of a q or k matrix for the half-split rotary embedding.

    llama2.c rotates neighbouring rows (2i, 2i+1) of each head together, Hugging Face rows i and
    i + head_dim/2. `weight`: `(n_heads * head_dim, d_model)`; so is the result.
    """
    rows, columns = weight.shape
    pairs = weight.reshape(rows // head_dim, head_dim // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def hf_config(config: Llama2cConfig) -> dict[str, Any]:
    """Return config.json of the same model as `LlamaForCausalLM`."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": config.dim,
        "intermediate_size": config.hidden_dim,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_dim,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.seq_len,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": config.tied,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "dtype": "float32",
    }


def hf_weights(config: Llama2cConfig, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the weights under Hugging Face's names, in its rotary order."""
    weights = {
        "model.embed_tokens.weight": arrays["embedding"],
        "model.norm.weight": arrays["final_norm"],
    }
    if not config.tied:
        weights["lm_head.weight"] = arrays["unembedding"]
    for layer in range(config.n_layers):
        prefix = f"model.layers.{layer}"
        attention, mlp = f"{prefix}.self_attn", f"{prefix}.mlp"
        weights |= {
            f"{prefix}.input_layernorm.weight": arrays["attention_norm"][layer],
            f"{prefix}.post_attention_layernorm.weight": arrays["mlp_norm"][layer],
            f"{attention}.q_proj.weight": half_split(arrays["q"][layer], config.head_dim),
            f"{attention}.k_proj.weight": half_split(arrays["k"][layer], config.head_dim),
            f"{attention}.v_proj.weight": arrays["v"][layer],
            f"{attention}.o_proj.weight": arrays["o"][layer],
            f"{mlp}.gate_proj.weight": arrays["gate"][layer],
            f"{mlp}.down_proj.weight": arrays["down"][layer],
            f"{mlp}.up_proj.weight": arrays["up"][layer],
        }
    return weights
