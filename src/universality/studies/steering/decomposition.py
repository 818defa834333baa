"""What a steering vector is in terms of an SAE's features, by every way of asking.

An SAE's encoder reads activations, and a steering vector is a difference of two. Mayne et al.
(2024, arXiv 2411.08790) find that it is then misread: being short and off centre it leaves the
encoder's bias to decide (the zero vector gives the same features), and what it takes away from a
feature reads as 0. Sparse pursuit asks the decoder alone, and its signed form can take away.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from universality.core.pursuit import (
    Codes,
    gradient_pursuit,
    gram_matrix,
    least_squares,
    orthogonal_matching_pursuit,
)
from universality.studies.steering.vectors import random_like

METHODS = {
    "encode": "encode(v)",
    "encode_and_bias": "encode(v), and the decoder's bias",
    "encode_shift": "encode(x + v) - encode(x), mean over positions x",
    "encode_shift_top": "its largest features",
    "prompt_difference": "encode(prompts), difference of means",
    "prompt_difference_top": "its largest features",
    "non_negative_pursuit": "gradient pursuit, non-negative",
    "signed_pursuit": "gradient pursuit, signed",
    "omp": "orthogonal matching pursuit",
    "encoder_support": "least squares on the features of encode(v)",
}
"""Ways of decomposing a vector; `_top` are as many features as pursuit may take."""


@dataclass(frozen=True)
class Dictionary:
    """An SAE as arrays and a function."""

    encode: Callable[[np.ndarray], np.ndarray]
    """Activations `(n, d)` to features `(n, m)`."""
    rows: np.ndarray
    """Decoder rows `(m, d)`."""
    bias: np.ndarray
    """What the decoder adds, `(d,)`."""
    gram: np.ndarray | None
    """`gram_matrix(rows)`, `(m, m)`, unless it would be large (`_MOST_FOR_GRAM`)."""


_MOST_FOR_GRAM = 8192
"""Features of which the Gram matrix (256 MB) is kept; of more, pursuit makes the rows it needs."""


def _gram(rows: np.ndarray) -> np.ndarray | None:
    return gram_matrix(rows) if len(rows) <= _MOST_FOR_GRAM else None


def dictionary_of(sae: Any, centred: bool) -> Dictionary:
    """Return an opened SAE as a `Dictionary`; its decoder must be affine.

    With `centred`, it encodes activations less their mean over dimensions.
    """
    import torch

    from universality.core.splicing import LinearDecoder

    decoder = LinearDecoder(sae)

    @torch.inference_mode()
    def encode(x: np.ndarray) -> np.ndarray:
        read = torch.from_numpy(np.asarray(x, dtype=np.float32))
        return sae.encode(read - read.mean(1, keepdim=True) if centred else read).numpy()

    return Dictionary(encode, decoder.rows, decoder.offset, _gram(decoder.rows))


@dataclass(frozen=True)
class Case:
    """A steering vector and the prompts it was made from."""

    name: str
    vector: np.ndarray
    """Shape `(d,)`."""
    positive: np.ndarray
    """Activations of its prompts, `(n_pairs, d)`."""
    negative: np.ndarray


@dataclass(frozen=True)
class Decomposition:
    """A vector as a sum of features."""

    code: np.ndarray
    """Coefficient of every feature, `(m,)`."""
    reconstruction: np.ndarray
    """Shape `(d,)`."""


def decompose(
    dictionary: Dictionary, case: Case, context: np.ndarray, l0: int
) -> dict[str, Decomposition]:
    """Decompose a vector in every way of `METHODS`; see `decompose_all`."""
    return decompose_all(dictionary, [case], context, l0)[0]


def decompose_all(
    dictionary: Dictionary, cases: Sequence[Case], context: np.ndarray, l0: int
) -> list[dict[str, Decomposition]]:
    """Decompose vectors in every way of `METHODS`.

    `context` `(n, d)` are the activations to which they are added, `l0` the most features that
    pursuit, and `_top`, may take.
    """
    encode, rows = dictionary.encode, dictionary.rows
    before = encode(context)
    encoded = encode(np.stack([case.vector for case in cases]))
    pursued = _pursued(dictionary, cases, encoded, l0)
    made = []
    for i, case in enumerate(cases):
        found = {name: codes[i] for name, codes in pursued.items()}
        found["encode"] = found["encode_and_bias"] = encoded[i]
        shift = (encode(context + case.vector) - before).mean(0, dtype=np.float64)
        sides = [encode(side).mean(0, dtype=np.float64) for side in (case.positive, case.negative)]
        for name, code in (("encode_shift", shift), ("prompt_difference", sides[0] - sides[1])):
            found[name], found[f"{name}_top"] = code, largest(code, rows, l0)
        reconstructed = {name: found[name] @ rows for name in METHODS}
        reconstructed["encode_and_bias"] = reconstructed["encode_and_bias"] + dictionary.bias
        made.append({name: Decomposition(found[name], reconstructed[name]) for name in METHODS})
    return made


def _pursued(
    dictionary: Dictionary, cases: Sequence[Case], encoded: np.ndarray, l0: int
) -> dict[str, np.ndarray]:
    """Return the codes `(n, m)` that ask the decoder: pursuit, and least squares on encoder's."""
    rows, gram = dictionary.rows, dictionary.gram
    x = np.stack([case.vector for case in cases])
    fires = encoded != 0
    support = np.full((len(x), fires.sum(axis=1).max()), -1)
    for row, own in zip(support, fires, strict=True):
        row[: own.sum()] = np.flatnonzero(own)
    codes = {
        "non_negative_pursuit": gradient_pursuit(x, rows, l0, gram=gram),
        "signed_pursuit": gradient_pursuit(x, rows, l0, signed=True, gram=gram),
        "omp": orthogonal_matching_pursuit(x, rows, l0, gram=gram),
        "encoder_support": least_squares(x, rows, support),
    }
    return {name: dense(code, len(rows)) for name, code in codes.items()}


def dense(codes: Codes, m: int) -> np.ndarray:
    """Return codes of `n` vectors as coefficients of all `m` features, `(n, m)`."""
    found = np.zeros((len(codes.atoms), m))
    row, place = np.nonzero(codes.atoms >= 0)
    found[row, codes.atoms[row, place]] = codes.coefficients[row, place]
    return found


def largest(code: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
    """Return `code` `(m,)` with all but its `n` longest contributions to the sum set to 0."""
    order = np.argsort(-contributions(code, rows), kind="stable")
    kept = np.zeros(len(code))
    kept[order[:n]] = code[order[:n]]
    return kept


def contributions(code: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the length of what each feature adds to the reconstruction, `(m,)`."""
    return np.abs(code) * np.linalg.norm(rows, axis=1)


def shuffled(dictionary: Dictionary, rng: np.random.Generator) -> Dictionary:
    """Return the dictionary with the coordinates of every decoder row in an order of its own.

    Lengths stay, and how large coordinates are; directions go, and with them how features lie to
    each other. (Turning all rows alike, or permuting their coordinates alike, would be no control
    of its own: it is the same as turning the vector, which random vectors of its length are.)
    """
    rows = rng.permuted(dictionary.rows, axis=1)
    return Dictionary(dictionary.encode, rows, dictionary.bias, _gram(rows))


def fidelity(vector: np.ndarray, found: Decomposition, rows: np.ndarray) -> dict[str, float]:
    """Return how a decomposition compares with its vector.

    cosine and norm_ratio of the reconstruction; explained, 1 - |v - reconstruction|^2 / |v|^2
    (below 0 where nothing at all would be nearer); l0; and negative_share, the part of the
    features' squared contributions that is taken away.
    """
    made, length = found.reconstruction, np.linalg.norm(vector)
    size = np.linalg.norm(made)
    parts = contributions(found.code, rows) ** 2
    total = parts.sum()
    return {
        "cosine": float(made @ vector / (size * length)) if size else 0.0,
        "norm_ratio": float(size / length),
        "explained": float(1 - np.sum((vector - made) ** 2) / length**2),
        "l0": int(np.count_nonzero(found.code)),
        "negative_share": float(parts[found.code < 0].sum() / total) if total else 0.0,
    }


def fidelity_table(
    dictionary: Dictionary,
    cases: Sequence[Case],
    context: np.ndarray,
    l0: int,
    n_random: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return a row for each vector, way of decomposing it, and source.

    Sources: `vector`; `random`, `n_random` random vectors of its length each (added to the negative
    prompts where prompts are asked for); `shuffled`, the same vector by `shuffled` decoder rows,
    with the codes that only the encoder makes as they are.
    """
    other = shuffled(dictionary, rng)
    given = [("vector", 0, case) for case in cases]
    by_chance = [("shuffled", 0, case) for case in cases]
    for case in cases:
        for draw, vector in enumerate(random_like(case.vector, n_random, rng)):
            moved = Case(case.name, vector, case.negative + vector, case.negative)
            given.append(("random", draw, moved))
    rows: list[dict[str, Any]] = []
    for by, sources in ((dictionary, given), (other, by_chance)):
        found = decompose_all(by, [case for *_, case in sources], context, l0)
        for (source, draw, case), made in zip(sources, found, strict=True):
            keys = {"vector": case.name, "source": source, "draw": draw}
            rows += [
                {**keys, "method": method} | fidelity(case.vector, one, by.rows)
                for method, one in made.items()
            ]
    return pd.DataFrame(rows)


def activation_table(dictionary: Dictionary, context: np.ndarray, l0: int) -> pd.DataFrame:
    """Return what signed pursuit makes of activations `(n, d)`, which are no differences.

    A row each, with the columns of `fidelity`, without the decoder's bias, as the SAE codes them.
    """
    x = context - dictionary.bias
    codes = gradient_pursuit(x, dictionary.rows, l0, signed=True, gram=dictionary.gram)
    found = zip(dense(codes, len(dictionary.rows)), codes.reconstruct(dictionary.rows), strict=True)
    rows = [
        fidelity(vector, Decomposition(*one), dictionary.rows)
        for vector, one in zip(x, found, strict=True)
    ]
    return pd.DataFrame(rows)
