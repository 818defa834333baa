"""Every layer of A against every layer of B: one table of measures, nulls and intervals."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from universality.core.nulls import with_q
from universality.core.progress import progress
from universality.studies.spaces.params.similarity import Similarity
from universality.studies.spaces.similarity.linear import compare
from universality.studies.spaces.similarity.measures import LINKED, RELATED, Options
from universality.studies.spaces.similarity.null import (
    Blocks,
    Compared,
    Prepared,
    Reduced,
    blocks,
    compare_linear,
    compare_prepared,
    in_threads,
    kernels,
    prepared,
    reduced,
    straight,
)

Layers = Mapping[int, np.ndarray]
"""Layer -> `(n, d)`, the samples in blocks, a document each."""
ENOUGH = 5
"""So many samples for every column of both sides, or a row says that they are few."""


def told(settings: Similarity) -> Options:
    """Return what of the settings measures are told."""
    return Options(settings.variance_share, settings.ridge, settings.n_neighbours)


def compare_layers(
    a: Layers, b: Layers, control: Layers, size: int, settings: Similarity, rng: np.random.Generator
) -> pd.DataFrame:
    """Compare every layer of A with every layer of B, in blocks of `size` samples.

    One row for each pair of layers and each of `layer_measures`: `value`, its 95% interval over
    documents (`low`, `high`), the mean under permuted documents (`null`), `p` of as high a value
    and `q` after Benjamini and Hochberg over the map of this measure. `null_high` is what the
    highest of a whole map of permuted documents exceeds in one of twenty: the null of the highest.
    `random_lm` is the same measure of A's layer and the untrained LM's layer at the same relative
    depth. `n` samples, in the `d` directions of each side that are left after reduction (`kept` of
    the variance), or in all of them (measures of distances); `few` where n is under 5 (d_a + d_b).
    """
    n_blocks = len(next(iter(a.values()))) // size
    samples = blocks(n_blocks, size, settings.n_permutations, rng)
    far = blocks(n_blocks, settings.distances_per_document, settings.n_permutations, rng)
    some = samples.first(settings.distances_per_document)
    wanted = settings.layer_measures
    measures = {name: one for name, one in LINKED.items() if name in wanted}
    options = told(settings)
    reduce = partial(reduced, n_directions=settings.n_directions)
    sides = [
        dict(zip(side, in_threads(reduce, side.values()), strict=True)) if measures else {}
        for side in (a, b, control)
    ]

    def relate(x: np.ndarray) -> Prepared:
        return prepared(x[some], far, settings.n_groups, options, wanted)

    near = [
        dict(zip(side, in_threads(relate, side.values()), strict=True))
        if RELATED.keys() & set(wanted) else {}
        for side in (a, b)
    ]  # fmt: skip

    def with_all_of_a(layer_b: int) -> dict[tuple[int, int], dict[str, Compared]]:
        found: dict[tuple[int, int], dict[str, Compared]] = {(i, layer_b): {} for i in a}
        if measures:
            of_b = sides[1][layer_b]
            linear = compare_linear(sides[0], of_b, samples, settings.n_groups, wanted, options)
            for layer_a, judged in linear.items():
                found[layer_a, layer_b] |= judged
        for layer_a, of_a in near[0].items():
            found[layer_a, layer_b] |= compare_prepared(of_a, near[1][layer_b], far)
        return found

    found = {
        layers: judged
        for of_b in in_threads(with_all_of_a, progress(list(b), desc="layers of B"))
        for layers, judged in of_b.items()
    }
    place = _same_depth(list(b), list(control))
    untrained: dict[tuple[int, int], dict[str, float]] = {}
    for layer in sorted(set(place.values())):
        for layer_a in a:
            row = untrained[layer_a, layer] = {}
            if measures:
                link = compare(sides[0][layer_a].scores, sides[2][layer].scores)
                row |= {name: float(one.of(link, options)) for name, one in measures.items()}
        if near[0]:
            of_control = kernels(control[layer][some], options, wanted)
            for layer_a, of_a in near[0].items():
                untrained[layer_a, layer] |= straight(of_a.whole, of_control)
    highest = _highest_of_null(found)
    rows = [
        {
            "layer_a": layer_a,
            "layer_b": layer_b,
            "measure": measure,
            **compared.row(),
            "null_high": highest[measure],
            "random_lm": untrained[layer_a, place[layer_b]][measure],
            **_sizes(measure in measures, sides, (a, b), layer_a, layer_b, samples, far),
        }
        for (layer_a, layer_b), judged in found.items()
        for measure, compared in judged.items()
    ]
    table = with_q(pd.DataFrame(rows), "p", by="measure")
    return table.assign(n_null=settings.n_permutations)


def _highest_of_null(found: Mapping[tuple[int, int], Mapping[str, Compared]]) -> dict[str, float]:
    """Return for each measure the 95% quantile of the highest of a map of permuted documents.

    All pairs of layers share their draws, so that a draw makes a whole map. Groger et al. 2026:
    a search over layers raises the highest for nothing, and the null has to search as well.
    """
    maps = list(found.values())
    return {
        measure: float(np.quantile(np.max([one[measure].draws for one in maps], axis=0), 0.95))
        for measure in maps[0]
    }


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
    if linear:
        one, other = sides[0][layer_a], sides[1][layer_b]
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
