"""Language models: load them, train small ones, measure their cross-entropy.

Every model is a plain Hugging Face directory (config.json, model.safetensors, tokenizer.json) and
is opened through TransformerLens' `TransformerBridge`, whose hook names are used throughout.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from universality.core.corpora import Batch, Tokens, batches, pad
from universality.core.errors import InputError
from universality.core.io import atomic_directory, require
from universality.core.params.models import SmallModel
from universality.core.progress import progress
from universality.core.randomness import derive_seed, generator

if TYPE_CHECKING:
    import pandas as pd

BOS, EOS = "<s>", "</s>"
_SORTED_WINDOW = 512  # documents sorted by length together: little padding, still well mixed


def load_bridge(path: Path, device: str = "cpu") -> Any:
    """Open a model directory as a `TransformerBridge` in float32, in evaluation mode."""
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoModelForCausalLM, AutoTokenizer

    require(path / "config.json")
    model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(path)
    bridge = TransformerBridge.boot_transformers(
        str(path), hf_model=model.eval().to(device), tokenizer=tokenizer, device=device
    )
    return bridge.eval()


def train_tokenizer(texts: list[str], vocab_size: int) -> Any:
    """Train a byte-level BPE tokenizer; ids 0 and 1 are BOS and EOS."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE

    tokenizer = Tokenizer(BPE())
    # Attribute assignment is how `tokenizers` is configured; its stubs call it read-only.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save_tokenizer(tokenizer: Any, path: Path, bos: str = BOS, eos: str = EOS) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` into the directory `path`."""
    from transformers import PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos, eos_token=eos)
    fast.save_pretrained(path)


def new_model(params: SmallModel, seed: int) -> torch.nn.Module:
    """Return an untrained Llama-style model (gated SiLU MLP, rotary, tied embeddings)."""
    from transformers import LlamaConfig, LlamaForCausalLM

    if params.d_model % params.n_heads:
        raise InputError(
            f"small_model.n_heads is {params.n_heads}, expected a divisor of "
            f"d_model = {params.d_model}"
        )
    config = LlamaConfig(
        vocab_size=params.vocab_size,
        hidden_size=params.d_model,
        num_hidden_layers=params.n_layers,
        num_attention_heads=params.n_heads,
        intermediate_size=params.d_mlp,
        max_position_embeddings=params.context,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
    )
    torch.manual_seed(derive_seed(seed, "weights"))  # transformers initialises from global state
    return LlamaForCausalLM(config)


def save_model(model: torch.nn.Module, tokenizer: Any, path: Path) -> None:
    """Write a Hugging Face directory."""
    with atomic_directory(path) as temporary:
        model.save_pretrained(temporary)  # pyright: ignore[reportCallIssue]
        save_tokenizer(tokenizer, temporary)


def train(
    model: torch.nn.Module,
    tokens: Tokens,
    validation: Tokens,
    params: SmallModel,
    seed: int,
    keep: Callable[[float], None] = lambda share: None,
) -> "pd.DataFrame":
    """Train in place: AdamW, linear warm-up, cosine decay to a tenth; return the log.

    `keep` is called after each of the shares of the tokens that `params.checkpoints` names.
    Log columns: step, tokens (seen), loss and validation_loss (nats per token; the latter NaN
    between its measurements), learning_rate.
    """
    import pandas as pd

    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": params.weight_decay},
         {"params": vectors, "weight_decay": 0.0}],
        lr=params.learning_rate, betas=(0.9, 0.95), fused=True,
    )  # fmt: skip
    held_out = list(batches(validation, params.batch_tokens))
    seen, step, rows, since = 0, 0, [], []
    due_checkpoints = sorted(params.checkpoints)
    with progress(total=params.n_tokens, unit="token", desc="training") as bar:
        for batch in _training_batches(tokens, params.batch_tokens, seed):
            rate = params.learning_rate * _schedule(seen / params.n_tokens, params.warmup_fraction)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = _loss(model, batch)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            n = int(batch.valid.sum())
            seen, step = seen + n, step + 1
            since.append(loss.item())
            bar.update(n)
            while due_checkpoints and seen >= due_checkpoints[0] * params.n_tokens:
                keep(due_checkpoints.pop(0))
            done = seen >= params.n_tokens
            if step % params.log_every == 0 or done:
                due = done or step % (5 * params.log_every) == 0
                judged = _mean_loss(model, held_out) if due else math.nan
                rows.append((step, seen, float(np.mean(since)), judged, rate))
                since = []
            if done:
                break
    if not all(math.isfinite(row[2]) for row in rows):
        raise InputError(
            f"training diverged (loss {rows[-1][2]}); lower small_model.learning_rate, "
            f"now {params.learning_rate}"
        )
    columns = ["step", "tokens", "loss", "validation_loss", "learning_rate"]
    return pd.DataFrame(rows, columns=columns)


def _schedule(done: float, warmup: float) -> float:
    if done < warmup:
        return (done + 1e-3) / warmup
    return 0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, (done - warmup) / (1 - warmup))))


def _training_batches(tokens: Tokens, batch_tokens: int, seed: int) -> Any:
    epoch = 0
    while True:
        random = generator(seed, "order", epoch)
        order = random.permutation(tokens.n_documents)
        chunks = []
        for first in range(0, len(order), _SORTED_WINDOW):
            window = order[first : first + _SORTED_WINDOW]
            window = window[np.argsort(tokens.lengths[window], kind="stable")]
            chunks += [batch.rows for batch in batches(tokens, batch_tokens, window)]
        for index in random.permutation(len(chunks)):
            yield pad(tokens, chunks[index])
        epoch += 1


def _loss(model: torch.nn.Module, batch: Batch) -> Tensor:
    losses = token_losses(model(torch.from_numpy(batch.ids)).logits, batch)
    return losses.sum() / int(batch.valid[:, 1:].sum())


@torch.inference_mode()
def _mean_loss(model: torch.nn.Module, held_out: list[Batch]) -> float:
    total = sum(
        token_losses(model(torch.from_numpy(b.ids)).logits, b).sum().item() for b in held_out
    )
    return total / sum(int(b.valid[:, 1:].sum()) for b in held_out)


def token_losses(logits: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of each next token in nats, `(batch, longest - 1)`; 0 at padding."""
    ids = torch.from_numpy(batch.ids)
    losses = F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return losses.view(len(ids), -1) * torch.from_numpy(batch.valid[:, 1:])


@torch.inference_mode()
def document_losses(
    bridge: Any, tokens: Tokens, batch_tokens: int, hooks: Any = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Summed cross-entropy (nats) and number of predicted tokens of each document.

    `hooks` are TransformerLens forward hooks, `(name, function)`, active during the pass. The first
    token (BOS) predicts but is not predicted.
    """
    sums = np.zeros(tokens.n_documents)
    for batch in progress(list(batches(tokens, batch_tokens)), desc="cross-entropy"):
        ids = torch.from_numpy(batch.ids)
        logits = bridge.run_with_hooks(ids, fwd_hooks=list(hooks))
        sums[batch.rows] = token_losses(logits, batch).double().sum(1).numpy()
    if not np.isfinite(sums).all():
        bad = tokens.documents[~np.isfinite(sums)][0]
        raise InputError(f"the cross-entropy of document {bad} is not finite")
    return sums, (tokens.lengths - 1).astype(float)
