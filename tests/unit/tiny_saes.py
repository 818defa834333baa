"""SAEs that explain a tiny model best at one known place, in the files that others share SAEs in.

The place is found without TransformerLens: the residual stream is what transformers returns as
`hidden_states`, the output of an MLP what its module returns.
"""

import copy
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

Weights = dict[str, torch.Tensor]


def new_model(kind: str, n_layers: int, d: int, end: int) -> Any:
    """Return a model of a family of transformers, with weights that make its layers differ."""
    import transformers as hf

    shared: dict[str, Any] = {"vocab_size": end + 1, "bos_token_id": end, "eos_token_id": end}
    named: dict[str, Any] = {
        "hidden_size": d,
        "num_hidden_layers": n_layers,
        "num_attention_heads": 4,
    } | shared
    named |= {"max_position_embeddings": 64, "intermediate_size": 2 * d}
    model: Any
    torch.manual_seed(n_layers + d)
    if kind == "gpt2":
        sizes: dict[str, Any] = {"n_positions": 64, "n_embd": d, "n_layer": n_layers, "n_head": 4}
        model = hf.GPT2LMHeadModel(hf.GPT2Config(**sizes, **shared))
    elif kind == "neox":
        model = hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**named))
    elif kind == "gemma":
        heads: dict[str, Any] = {"num_key_value_heads": 1, "head_dim": d // 4, "pad_token_id": 0}
        model = hf.GemmaForCausalLM(hf.GemmaConfig(**named, **heads))
    else:
        model = hf.LlamaForCausalLM(hf.LlamaConfig(**named, num_key_value_heads=2))
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.2 * torch.randn_like(weight)
        if kind == "gpt2":  # a mean over dimensions that differs from token to token
            model.transformer.wte.weight += 2 * torch.randn(end + 1, 1)
    return model.eval()


@torch.inference_mode()
def activations(model: Any, documents: list[torch.Tensor]) -> dict[tuple[str, int], torch.Tensor]:
    """Return ("stream", i) before block i and ("mlp", i), `(n, d)`: all documents without BOS."""
    trunk = model.base_model
    blocks = trunk.h if hasattr(trunk, "h") else trunk.layers
    found: dict[tuple[str, int], list[torch.Tensor]] = {}
    hooks = [
        block.mlp.register_forward_hook(
            lambda _module, _input, output, i=i: found.setdefault(("mlp", i), []).append(output[0])
        )
        for i, block in enumerate(blocks)
    ]
    for ids in documents:
        # The last entry is behind the final norm, and no place that any SAE of ours sits at.
        for i, state in enumerate(trunk(ids[None], output_hidden_states=True).hidden_states[:-1]):
            found.setdefault(("stream", i), []).append(state[0])
    for hook in hooks:
        hook.remove()
    return {place: torch.cat([part[1:] for part in parts]) for place, parts in found.items()}


def remembering(x: torch.Tensor, n: int) -> Weights:
    """Return a TopK SAE of sparsify, k = 1, that has the first `n` rows of `x` for features."""
    mean = x.mean(0)
    rows = torch.nn.functional.normalize(x[:n] - mean, dim=1)
    return {
        "encoder.weight": rows.clone(), "encoder.bias": torch.zeros(n), "W_dec": rows.clone(),
        "b_dec": mean,
    }  # fmt: skip


def principal(x: torch.Tensor, n: int, scale: float = 1.0) -> Weights:
    """Return a ReLU SAE that projects `scale` times x on the first `n` principal components."""
    mean = x.mean(0)
    axes = torch.linalg.svd(x - mean, full_matrices=False).Vh[:n]
    both = torch.cat([axes, -axes])
    return {
        "W_enc": both.T.contiguous(), "b_enc": torch.full((2 * n,), -0.01), "W_dec": both,
        "b_dec": scale * mean,
    }  # fmt: skip


def sparsify_files(folder: str, weights: Weights, k: int, **config: Any) -> dict[str, bytes]:
    """Return the files of an SAE as EleutherAI's sparsify writes them."""
    d_in = len(weights["b_dec"])
    n = len(weights["encoder.bias"])
    cfg = {"expansion_factor": 32, "normalize_decoder": True, "num_latents": n, "k": k}
    cfg |= {"signed": False, "d_in": d_in, **config}
    return {
        f"{folder}/cfg.json": json.dumps(cfg).encode(),
        f"{folder}/sae.safetensors": save({k: v.contiguous() for k, v in weights.items()}),
    }


def saelens_files(folder: str, hook: str, weights: Weights, **config: Any) -> dict[str, bytes]:
    """Return the files of an SAE as the SAELens of early 2024 wrote them."""
    d_in, d_sae = weights["W_enc"].shape
    cfg = {
        "model_name": "gpt2-small", "hook_point": hook, "hook_point_layer": int(hook.split(".")[1]),
        "hook_point_head_index": None, "dataset_path": "Skylion007/openwebtext",
        "is_dataset_tokenized": False, "context_size": 128, "use_cached_activations": False,
        "cached_activations_path": f"activations/{hook}", "d_in": d_in, "n_batches_in_buffer": 128,
        "total_training_tokens": 300000000, "store_batch_size": 32, "device": "mps", "seed": 42,
        "dtype": "torch.float32", "b_dec_init_method": "geometric_median",
        "expansion_factor": 32, "d_sae": d_sae, "l1_coefficient": 8e-05, **config,
    }  # fmt: skip
    return {
        f"{folder}/cfg.json": json.dumps(cfg).encode(),
        f"{folder}/sae_weights.safetensors": save(weights),
        f"{folder}/sparsity.safetensors": save({"sparsity": torch.zeros(d_sae)}),
    }


def model_files(model: Any, folder: Path, dtype: torch.dtype) -> dict[str, bytes]:
    """Return config and weights of `model` as transformers writes them, by way of `folder`.

    Rounds the weights of `model` to `dtype`, but nothing else of it.
    """
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.to(dtype))
    copy.deepcopy(model).to(dtype).save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}
