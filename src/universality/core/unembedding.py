"""What a model's final norm and unembedding make of a direction in the residual stream.

Read from the weights alone: opening a model takes longer than all that is done with them.
"""

import re
from pathlib import Path

import numpy as np

from universality.core.errors import InputError
from universality.core.io import open_arrays, read_json, require
from universality.core.sae_weights import mlp_output

_UNEMBEDDING = re.compile(r"(^|\.)(lm_head|embed_out)\.weight$")
_EMBEDDING = re.compile(r"(^|\.)(embed_tokens|wte|embed_in)\.weight$")
_FINAL_NORM = re.compile(r"(^|\.)(norm|ln_f|final_layer_norm|final_layernorm)\.(weight|bias)$")
_IN_A_BLOCK = re.compile(r"\.\d+\.")
_ONE_PLUS = {"gemma", "gemma2", "gemma3", "gemma3_text"}
"""Families whose norm scales by one plus its weight."""
_WRITES = re.compile(r"hook_(resid_(pre|mid|post)|mlp_out|attn_out|out)|(mlp|attn)\.hook_out")
_NEURONS = re.compile(r"mlp\.(hook_post|out\.hook_in)")


def read_unembedding(model: Path) -> np.ndarray:
    """Return `(n_vocab, d_model)`, float32: row t . x is the logit of token t at residual x.

    The final norm's scale (and a LayerNorm's centring) is folded in; its division by the norm of
    the residual stream, which differs from position to position, and all biases are left out.
    """
    config = read_json(model / "config.json")
    found = _tensors(model)
    names = {
        kind: next((name for name in found if pattern.search(name)), None)
        for kind, pattern in (("unembedding", _UNEMBEDDING), ("embedding", _EMBEDDING))
    }
    name = names["unembedding"]
    if name is None and config.get("tie_word_embeddings", True):
        name = names["embedding"]
    norms = {match[3]: key for key in found if (match := _FINAL_NORM.search(key))}
    if name is None or "weight" not in norms:
        raise InputError(
            f"{model}: no {'unembedding' if name is None else 'final norm'} in safetensors; "
            f"outside its blocks there is: {', '.join(sorted(found)) or 'nothing'}"
        )
    scale = _read(found[norms["weight"]], norms["weight"])
    if config.get("model_type") in _ONE_PLUS:
        scale = scale + 1
    rows = _read(found[name], name) * scale
    # Only a LayerNorm has a bias; it takes the mean over the residual stream's coordinates off.
    return rows - rows.mean(1, keepdims=True) if "bias" in norms else rows


def written_rows(decoder: np.ndarray, model: Path, hook: str) -> np.ndarray:
    """Return what features with decoder rows `(d, d_in)` at `hook` write, `(d, d_model)`.

    Features of MLP neurons write through the MLP's output matrix.
    """
    _, layer, site = hook.split(".", 2)
    if _WRITES.fullmatch(site):
        return decoder
    if not _NEURONS.fullmatch(site):
        raise InputError(
            f"hook {hook} does not write to the residual stream in a known way; logit weights "
            "need the residual stream, an MLP's output or neurons, or an attention output"
        )
    d_model = int(read_json(model / "config.json")["hidden_size"])
    return decoder @ mlp_output(model, int(layer), d_model)


def _tensors(model: Path) -> dict[str, Path]:
    """Return the file of every tensor outside the blocks, by its name."""
    found = {}
    for path in sorted(require(model).glob("*.safetensors")):
        with open_arrays(path) as file:
            found |= {name: path for name in file.keys() if not _IN_A_BLOCK.search(name)}  # noqa: SIM118
    return found


def _read(path: Path, name: str) -> np.ndarray:
    with open_arrays(path) as file:
        if file.get_slice(name).get_dtype() != "BF16":
            return file.get_tensor(name).astype(np.float32)
    with open_arrays(path, "pt") as file:  # numpy has no bfloat16; torch loads slowly
        return file.get_tensor(name).float().numpy()
