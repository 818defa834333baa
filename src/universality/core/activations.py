"""Collect the activations of a model's hooks, and shuffle them once on disk.

One forward pass serves all hooks of a model, and the unembedding is skipped. The shuffle is exact
and needs bounded memory: every position goes to a bucket drawn at random, each bucket is permuted
in memory, and the buckets are concatenated. (Assigning buckets independently and permuting within
gives every order of all positions the same probability.) All hooks share one order, so row `i` of
two hooks is the same position of the same document.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from universality.core.corpora import Tokens, batches, token_manifest
from universality.core.errors import InputError
from universality.core.io import require, write_json
from universality.core.params.activations import Activations
from universality.core.progress import progress
from universality.core.randomness import generator


@dataclass(frozen=True)
class Collected:
    """Activations of the kept positions of one batch."""

    document: np.ndarray
    """Index of the document in `Tokens`, shape `(n,)`."""
    position: np.ndarray
    """Token index in its document, shape `(n,)`."""
    activations: dict[str, torch.Tensor]
    """Hook -> `(n, d)`, float32."""


class _AllFoundError(Exception):
    """Every hook has had its value."""


@torch.inference_mode()
def collect(
    bridge: Any, tokens: Tokens, hooks: list[str], batch_tokens: int, mask_special: bool
) -> Iterator[Collected]:
    """Yield the activations of `hooks` for every position, short documents first, on the processor.

    Raises InputError when a hook does not exist or an activation is NaN or infinite.
    """
    unknown = [hook for hook in hooks if hook not in bridge.hook_dict]
    if unknown:
        known = ", ".join(name for name in bridge.hook_dict if name.startswith("blocks.0."))
        raise InputError(f"the model has no hook {unknown[0]!r}; in block 0 there are: {known}")
    found: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:
        def hook(value: torch.Tensor, **_: Any) -> None:
            found[name] = value
            if len(found) == len(hooks):
                raise _AllFoundError

        return hook

    trunk = bridge.original_model.base_model
    device = next(trunk.parameters()).device
    # Entering the hooks costs more than a small batch, so it is done once for all batches.
    with bridge.hooks(fwd_hooks=[(name, keep(name)) for name in hooks]):
        for batch in progress(list(batches(tokens, batch_tokens)), desc="forward"):
            found.clear()
            with suppress(_AllFoundError):  # the layers above them are not needed
                trunk(torch.from_numpy(batch.ids).to(device))
            kept = batch.valid.copy()
            if mask_special:
                kept[:, 0] = False
            row, position = np.nonzero(kept)
            mask = torch.from_numpy(kept).to(device)
            document = batch.rows[row]
            activations = {name: found[name][mask].float().cpu() for name in hooks}
            _check_finite(activations, tokens.documents[document])
            yield Collected(document, position.astype(np.int32), activations)


def _check_finite(activations: dict[str, torch.Tensor], documents: np.ndarray) -> None:
    for hook, value in activations.items():
        bad = ~torch.isfinite(value).all(dim=1)
        if bad.any():
            document = documents[bad.numpy()][0]
            raise InputError(f"{hook}: NaN or infinite activation in document {document}")


class Statistics:
    """Streaming moments of activations: mean vector, mean norm, kurtosis in the neuron basis."""

    def __init__(self, d: int) -> None:
        self.n, self.norm = 0, 0.0
        self.power = np.zeros((4, d))

    def add(self, x: torch.Tensor) -> None:
        """Add a batch `(n, d)`."""
        x = x.double()
        self.n += len(x)
        self.norm += x.norm(dim=1).sum().item()
        power = torch.ones_like(x)
        for k in range(4):
            power = power * x
            self.power[k] += power.sum(0).numpy()

    def summary(self) -> dict[str, float]:
        """Return n, mean_norm, rms of the centred activations and median excess kurtosis.

        Excess kurtosis is 0 for a Gaussian; the median is over neurons (Bricken et al. 2023 use it
        as a sign of a privileged basis).
        """
        m1, m2, m3, m4 = self.power / self.n
        variance = m2 - m1**2
        fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
        kurtosis = fourth / np.maximum(variance, 1e-30) ** 2 - 3
        return {
            "n": self.n,
            "mean_norm": self.norm / self.n,
            "rms": float(np.sqrt(variance.sum())),
            "excess_kurtosis": float(np.median(kurtosis)),
        }


class ShuffledWriter:
    """Write rows in uniformly random order to one `.npy` file per array; memory stays bounded."""

    def __init__(
        self, folder: Path, shapes: dict[str, tuple[int, str]], n: int, memory: int, seed: int
    ) -> None:
        """Prepare for `n` rows of arrays `name -> (width, dtype)`, holding `memory` bytes."""
        self.folder, self.shapes, self.n, self.seed = folder, shapes, n, seed
        widest = max(max(w, 1) * np.dtype(t).itemsize for w, t in shapes.values())
        # A bucket is loaded, and copied once by the permutation; its size varies by chance.
        self.n_buckets = max(1, int(np.ceil(3 * n * widest / memory)))
        self.assign = generator(seed, "buckets")
        self.sizes = np.zeros(self.n_buckets, dtype=np.int64)
        self.written = 0
        self._files: dict[tuple[str, int], Any] = {}

    def add(self, arrays: dict[str, np.ndarray]) -> None:
        """Append rows; all arrays have the same length."""
        rows = len(next(iter(arrays.values())))
        if self.written + rows > self.n:
            raise ValueError(f"more than the {self.n} rows that were announced")
        bucket = self.assign.integers(self.n_buckets, size=rows)
        order = np.argsort(bucket, kind="stable")
        counts = np.bincount(bucket, minlength=self.n_buckets)
        for name, array in arrays.items():
            parts = np.split(array[order], np.cumsum(counts)[:-1])
            for index, part in enumerate(parts):
                self._file(name, index).write(np.ascontiguousarray(part).tobytes())
        self.sizes += counts
        self.written += rows

    def _file(self, name: str, bucket: int) -> Any:
        if (name, bucket) not in self._files:
            path = self.folder / f".{name}.{bucket}.part"
            self._files[name, bucket] = path.open("wb")
        return self._files[name, bucket]

    def finish(self) -> None:
        """Permute every bucket and write the final arrays; the parts are deleted as it goes."""
        for file in self._files.values():
            file.close()
        if self.written != self.n:
            raise ValueError(f"{self.written} rows were added, {self.n} were announced")
        for name, (width, dtype) in self.shapes.items():
            shape = (self.n, width) if width else (self.n,)
            out = np.lib.format.open_memmap(
                self.folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape
            )
            first = 0
            for bucket, size in enumerate(self.sizes):
                if size == 0:
                    continue
                path = self.folder / f".{name}.{bucket}.part"
                part = np.fromfile(path, dtype=dtype).reshape(int(size), *shape[1:])
                order = generator(self.seed, "order", bucket).permutation(int(size))
                out[first : first + size] = part[order]
                first += int(size)
                path.unlink()
            out.flush()


def write_cache(
    folder: Path, bridge: Any, tokens: Tokens, hooks: list[str], params: Activations
) -> None:
    """Collect `hooks` on `tokens` and write the shuffled cache into the directory `folder`.

    Files: `<hook>.npy` `(n, d)`, `document.npy` and `position.npy` `(n,)`, all in one order;
    `statistics.json` (see `Statistics.summary`) and `tokens.json` (see `token_manifest`).
    """
    n = int((~tokens.special).sum()) if params.mask_special else len(tokens.ids)
    writer, statistics = None, {}
    for part in collect(bridge, tokens, hooks, params.batch_tokens, params.mask_special):
        if writer is None:
            widths = {hook: value.shape[1] for hook, value in part.activations.items()}
            shapes = {hook: (width, params.dtype) for hook, width in widths.items()}
            shapes |= {"document": (0, "int64"), "position": (0, "int32")}
            writer = ShuffledWriter(folder, shapes, n, params.memory_mb * 2**20, params.seed)
            statistics = {hook: Statistics(width) for hook, width in widths.items()}
        documents = tokens.documents[part.document]
        rows = {"document": documents, "position": part.position}
        for hook, value in part.activations.items():
            statistics[hook].add(value)
            stored = value.to(getattr(torch, params.dtype))
            _check_finite({f"{hook} as {params.dtype}": stored}, documents)
            rows[hook] = stored.numpy()
        writer.add(rows)
    assert writer is not None  # `tokenize` refuses an empty corpus
    writer.finish()
    summary = {hook: value.summary() for hook, value in statistics.items()}
    write_json(folder / "statistics.json", summary)
    write_json(folder / "tokens.json", token_manifest(tokens))


def open_activations(folder: Path, hook: str) -> np.ndarray:
    """Memory-map the shuffled activations of a hook, `(n_samples, d_in)`."""
    return np.load(require(folder / f"{hook}.npy"), mmap_mode="r", allow_pickle=False)
