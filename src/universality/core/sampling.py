"""Sample documents from a Llama-style model, many at a time.

Generation on a CPU is bound by three things: the matrix products (weights read once per step, so
large batches), the key-value cache (read once per step; kept in place, never concatenated), and
drawing from the vocabulary (one uniform number per document and an inverse CDF in two levels,
instead of 32,000 Gumbel or exponential variates).
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_BLOCK = 128
_COMPACT_EVERY = 16


class LlamaDecoder:
    """One-token-at-a-time forward pass of a `LlamaForCausalLM` with a preallocated cache.

    Numerically the Hugging Face model (a test compares the logits), without its per-step
    bookkeeping.
    """

    def __init__(self, model: Any, batch_size: int, max_tokens: int) -> None:
        config = model.config
        self.eps = config.rms_norm_eps
        self.n_heads, self.n_kv = config.num_attention_heads, config.num_key_value_heads
        self.d_head = config.hidden_size // self.n_heads
        state = {name: value.detach().float() for name, value in model.state_dict().items()}
        self.embed = state["model.embed_tokens.weight"]
        self.unembed = state["lm_head.weight"]
        self.norm = state["model.norm.weight"]
        self.layers = [_layer(state, i) for i in range(config.num_hidden_layers)]
        theta = config.rope_parameters["rope_theta"]
        frequency = theta ** (-torch.arange(0, self.d_head, 2, dtype=torch.float32) / self.d_head)
        angle = torch.outer(torch.arange(max_tokens, dtype=torch.float32), frequency)
        self.cos, self.sin = angle.cos(), angle.sin()
        shape = (len(self.layers), 2, batch_size, self.n_kv, max_tokens, self.d_head)
        self.cache = torch.zeros(shape)
        # Fresh 30 MB results at every step would cost more in page faults than in arithmetic.
        self.logits = torch.empty(batch_size, len(self.unembed))

    def compact(self, rows: Tensor) -> None:
        """Keep only the documents `rows` of the cache."""
        for layer in range(len(self.layers)):
            for kind in range(2):
                cache = self.cache[layer, kind]
                cache[: len(rows)] = cache[rows]
        self.cache = self.cache[:, :, : len(rows)]

    def step(self, ids: Tensor, position: int) -> Tensor:
        """Feed token `ids` `(batch,)` at `position`; return logits `(batch, vocab)`.

        The logits live in a buffer that the next step overwrites.
        """
        x = self.embed[ids]
        for layer, weights in enumerate(self.layers):
            x = x + self._attention(self._rms(x, weights["norm1"]), weights, layer, position)
            gate, up = (self._rms(x, weights["norm2"]) @ weights["gate_up"]).chunk(2, dim=-1)
            x = x + (F.silu(gate) * up) @ weights["down"]
        return torch.mm(self._rms(x, self.norm), self.unembed.T, out=self.logits[: len(x)])

    def _rms(self, x: Tensor, weight: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * weight

    def _rotate(self, x: Tensor, position: int) -> Tensor:
        low, high = x.chunk(2, dim=-1)
        cos, sin = self.cos[position], self.sin[position]
        return torch.cat([low * cos - high * sin, high * cos + low * sin], dim=-1)

    def _attention(self, x: Tensor, weights: dict[str, Tensor], layer: int, t: int) -> Tensor:
        n, d, h, kv = len(x), self.d_head, self.n_heads, self.n_kv
        q, k, v = (x @ weights["qkv"]).split([h * d, kv * d, kv * d], dim=-1)
        keys, values = self.cache[layer]
        keys[:, :, t] = self._rotate(k.view(n, kv, d), t)
        values[:, :, t] = v.view(n, kv, d)
        q = self._rotate(q.view(n, h, d), t).view(n, kv, h // kv, d)
        scores = q @ keys[:, :, : t + 1].transpose(-1, -2) * d**-0.5
        mixed = scores.softmax(-1) @ values[:, :, : t + 1]
        return mixed.reshape(n, h * d) @ weights["out"]


def _layer(state: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    prefix = f"model.layers.{index}."
    attention, mlp = prefix + "self_attn.", prefix + "mlp."
    qkv = [state[f"{attention}{name}_proj.weight"] for name in "qkv"]
    return {
        "norm1": state[prefix + "input_layernorm.weight"],
        "norm2": state[prefix + "post_attention_layernorm.weight"],
        "qkv": torch.cat(qkv).T.contiguous(),
        "out": state[attention + "o_proj.weight"].T.contiguous(),
        "gate_up": torch.cat(
            [state[mlp + "gate_proj.weight"], state[mlp + "up_proj.weight"]]
        ).T.contiguous(),
        "down": state[mlp + "down_proj.weight"].T.contiguous(),
    }


def draw(logits: Tensor, uniform: Tensor) -> Tensor:
    """Inverse-CDF sample from softmax(`logits`) `(batch, vocab)`, one `uniform` in [0, 1) each.

    The CDF is searched over blocks of 128 tokens, then inside one block, so that only the
    exponentials touch the whole vocabulary. `logits` is overwritten.
    """
    n, vocab = logits.shape
    weights = logits.sub_(logits.amax(-1, keepdim=True)).exp_()
    if vocab % _BLOCK:
        weights = F.pad(weights, (0, -vocab % _BLOCK))
    weights = weights.view(n, -1, _BLOCK)
    blocks = weights.sum(-1).double().cumsum(-1)
    target = uniform.double()[:, None] * blocks[:, -1:]
    block = torch.searchsorted(blocks, target, right=True).clamp_max(blocks.shape[1] - 1)
    before = torch.where(block > 0, blocks.gather(1, (block - 1).clamp_min(0)), 0.0)
    inside = weights[torch.arange(n), block[:, 0]].double().cumsum(-1)
    last = (inside < inside[:, -1:]).sum(-1, keepdim=True)  # last token of the block with weight
    token = torch.minimum(torch.searchsorted(inside, target - before, right=True), last)
    return (block * _BLOCK + token)[:, 0].clamp_max(vocab - 1)


@torch.inference_mode()
def sample_documents(
    model: Any,
    batch_size: int,
    max_tokens: int,
    temperature: float,
    bos: int,
    stop: set[int],
    random: torch.Generator,
) -> Iterator[list[int]]:
    """Yield `batch_size` documents: token ids after BOS, up to a stop token (not included).

    A document has at most `max_tokens` tokens, BOS included. Documents come in the order in which
    they were started.
    """
    decoder = LlamaDecoder(model, batch_size, max_tokens)
    out = torch.full((batch_size, max_tokens), bos)
    length = torch.full((batch_size,), max_tokens)
    stops = torch.tensor(sorted(stop))
    active = torch.arange(batch_size)
    ids = out[:, 0].clone()
    for position in range(max_tokens - 1):
        logits = decoder.step(ids, position).div_(temperature)
        uniform = torch.rand(batch_size, generator=random, dtype=torch.float64)
        ids = draw(logits, uniform[active])
        out[active, position + 1] = ids
        ended = torch.isin(ids, stops) & (length[active] == max_tokens)
        length[active[ended]] = position + 1
        if position % _COMPACT_EVERY == 0:
            alive = (length[active] == max_tokens).nonzero()[:, 0]
            if len(alive) == 0:
                break
            decoder.compact(alive)
            active, ids = active[alive], ids[alive]
    for row, n in zip(out.tolist(), length.tolist(), strict=True):
        yield row[1:n]
