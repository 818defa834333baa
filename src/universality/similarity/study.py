"""Every layer of A against every layer of B: one table of measures, nulls and intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np
import pandas as pd

from universality.nulls import with_q
from universality.params.similarity import Similarity
from universality.progress import progress
from universality.similarity.linear import compare, linear_measures
from universality.similarity.null import (
    Blocks,
    Compared,
    Reduced,
    blocks,
    compare_linear,
    compare_related,
    in_threads,
    kernels,
    reduced,
    related,
    straight,
)

Layers = Mapping[int, np.ndarray]
"""Layer -> `(n, d)`, the samples in blocks, a document each."""
ENOUGH = 5
"""So many samples for every column of both sides, or a row says that they are few."""


def compare_layers(
    a: Layers, b: Layers, control: Layers, size: int, settings: Similarity, rng: np.random.Generator
) -> pd.DataFrame:
    """Compare every layer of A with every layer of B, in blocks of `size` samples.

    One row for each pair of layers and measure: `value`, its 95% interval over documents (`low`,
    `high`), the mean under permuted documents (`null`), `p` of as high a value and `q` after
    Benjamini and Hochberg over the map of this measure. `random_lm` is the same measure of A's
    layer and the untrained LM's layer at the same relative depth. `n` samples, in the `d`
    directions of each side that are left after reduction (`kept` of the variance), or in all of
    them (measures of distances); `few` where n is under 5 (d_a + d_b).
    """
    n_blocks = len(next(iter(a.values()))) // size
    samples = blocks(n_blocks, size, settings.n_permutations, rng)
    far = blocks(n_blocks, settings.distances_per_document, settings.n_permutations, rng)
    some = samples.first(settings.distances_per_document)
    sides = [
        dict(zip(side, in_threads(partial(reduced, n_directions=settings.n_directions),
                                  side.values()), strict=True))
        for side in (a, b, control)
    ]  # fmt: skip
    near = [
        dict(zip(side, in_threads(lambda x: related(x[some], far, settings.n_groups,
                                                    settings.n_neighbours), side.values()),
                 strict=True))
        for side in (a, b)
    ]  # fmt: skip
    measures = linear_measures(settings.ridge, settings.variance_share)

    def with_all_of_a(layer_b: int) -> dict[tuple[int, int], dict[str, Compared]]:
        by_layer = compare_linear(sides[0], sides[1][layer_b], samples, settings.n_groups, measures)
        return {
            (layer_a, layer_b): judged | compare_related(near[0][layer_a], near[1][layer_b], far)
            for layer_a, judged in by_layer.items()
        }

    found = {
        layers: judged
        for of_b in in_threads(with_all_of_a, progress(list(b), desc="layers of B"))
        for layers, judged in of_b.items()
    }
    place = _same_depth(list(b), list(control))
    untrained = {}
    for layer in sorted(set(place.values())):
        of_control = kernels(control[layer][some], settings.n_neighbours)
        for layer_a in a:
            link = compare(sides[0][layer_a].scores, sides[2][layer].scores)
            untrained[layer_a, layer] = straight(near[0][layer_a].whole, of_control) | {
                name: float(measure(link)) for name, measure in measures.items()
            }
    rows = [
        {
            "layer_a": layer_a,
            "layer_b": layer_b,
            "measure": measure,
            **asdict(compared),
            "random_lm": untrained[layer_a, place[layer_b]][measure],
            **_sizes(measure in measures, sides, (a, b), layer_a, layer_b, samples, far),
        }
        for (layer_a, layer_b), judged in found.items()
        for measure, compared in judged.items()
    ]
    table = with_q(pd.DataFrame(rows), "p", by="measure")
    return table.assign(n_null=settings.n_permutations)


def _same_depth(layers: Sequence[int], others: Sequence[int]) -> dict[int, int]:
    """Return for each of `layers` the one of `others` at the nearest share of the way."""
    of = np.linspace(0, 1, len(others))
    shares = np.linspace(0, 1, len(layers))
    nearest = [others[int(np.argmin(np.abs(of - share)))] for share in shares]
    return dict(zip(layers, nearest, strict=True))


def _sizes(
    linear: bool,
    sides: Sequence[Mapping[int, Reduced]],
    whole: Sequence[Layers],
    layer_a: int,
    layer_b: int,
    samples: Blocks,
    far: Blocks,
) -> dict[str, float | bool]:
    """Return how many samples and columns a number rests on."""
    one, other = sides[0][layer_a], sides[1][layer_b]
    if linear:
        n, d_a, d_b = samples.n * samples.size, one.scores.shape[1], other.scores.shape[1]
        kept_a, kept_b = one.kept, other.kept
    else:
        n = far.n * far.size
        d_a, d_b = whole[0][layer_a].shape[1], whole[1][layer_b].shape[1]
        kept_a = kept_b = 1.0
    return {
        "n": n,
        "n_documents": samples.n,
        "d_a": d_a,
        "d_b": d_b,
        "kept_a": kept_a,
        "kept_b": kept_b,
        "few": linear and n < ENOUGH * (d_a + d_b),
    }
