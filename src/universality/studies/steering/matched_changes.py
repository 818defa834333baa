"""Whether matched features of two models change together when both are steered alike."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from universality.core.randomness import generator
from universality.studies.steering.downstream import read
from universality.studies.steering.intervene import Addition
from universality.studies.steering.params.steering import MatchedChanges, SteeredPair, Steering
from universality.studies.steering.transfer import Map, together

COLUMNS = [
    "contrast", "steered_layer_a", "steered_layer_b", "steered_b", "draw", "layer_a",
    "layer_b", "n_pairs",
    "spearman", "spearman_low", "spearman_high", "spearman_null", "spearman_p",
]  # fmt: skip


@dataclass(frozen=True)
class Steered:
    """A model on a text, and its SAEs."""

    bridge: Any
    ids: np.ndarray
    """Text, `(n, n_tokens)`."""
    saes: Mapping[int, tuple[str, Any]]
    """Layer -> hook and SAE."""
    n_prompt: int

    @torch.inference_mode()
    def features(self, after: int, additions: Sequence[Addition] = ()) -> dict[int, np.ndarray]:
        """Return layer -> mean of every feature over all positions, `(d_sae,)`.

        Of the layers above `after`, the one of the addition.
        """
        layers = [layer for layer in self.saes if layer > after]
        hooks = [self.saes[layer][0] for layer in layers]
        if not hooks:
            return {}
        found = read(self.bridge, self.ids, hooks, self.n_prompt, additions)
        return {
            layer: self.saes[layer][1].encode(found[hook]).double().mean((0, 1)).numpy()
            for layer, hook in zip(layers, hooks, strict=True)
        }

    def changes(
        self, plain: Mapping[int, np.ndarray], addition: Addition, layer: int
    ) -> dict[int, np.ndarray]:
        """Return layer -> how much an addition in `layer` changes these means."""
        found = self.features(layer, [addition])
        return {above: value - plain[above] for above, value in found.items()}


def matched_table(
    models: tuple[Steered, Steered],
    vectors_a: Mapping[tuple[str, int], np.ndarray],
    vectors_b: Mapping[tuple[str, int], Mapping[str, np.ndarray]],
    maps: Sequence[Map],
    partners: pd.DataFrame,
    how: MatchedChanges,
    section: SteeredPair,
    shared: Steering,
) -> pd.DataFrame:
    """Return one row per contrast, layer of A, pair of layers and vector that steers B.

    A is steered with its own vector; B with the mapped one, its own, and random ones as control
    (`steered_b`). `partners` are one to one: layer_a, layer_b, feature_a, feature_b; those that
    neither vector moves are left out. See `transfer.together`.
    """
    a, b = models
    layers, rows = {one.layer_a: one.layer_b for one in maps}, []
    plain_a, plain_b = a.features(-1), b.features(-1)

    def added(layer: int, vector: np.ndarray) -> Addition:
        return Addition(section.hook(layer), vector, how.multiplier, shared.where)

    for (name, layer), kinds in vectors_b.items():
        of_a = a.changes(plain_a, added(layer, vectors_a[name, layer]), layer)
        at = layers[layer]
        where = {"contrast": name, "steered_layer_a": layer, "steered_layer_b": at}
        for kind in ("mapped", "own", "random"):
            for draw, vector in enumerate(kinds[kind][: how.n_random]):
                of_b = b.changes(plain_b, added(at, vector), at)
                names = (name, layer, kind, draw)
                for row in _rows(of_a, of_b, partners, how, shared, names):
                    rows.append(where | {"steered_b": kind, "draw": draw} | row)
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(
    of_a: Mapping[int, np.ndarray], of_b: Mapping[int, np.ndarray], partners: pd.DataFrame,
    how: MatchedChanges, shared: Steering, names: tuple[str, int, str, int],
) -> Iterator[dict[str, Any]]:  # fmt: skip
    groups: Any = partners.groupby(["layer_a", "layer_b"])
    for (layer_a, layer_b), pairs in groups:
        if layer_a not in of_a or layer_b not in of_b:
            continue
        x, y = of_a[layer_a][pairs["feature_a"]], of_b[layer_b][pairs["feature_b"]]
        moved = (x != 0) | (y != 0)
        x, y = x[moved], y[moved]
        if len(x) < 3 or not (np.ptp(x) and np.ptp(y)):
            continue
        rng = generator(shared.seed, "matched", *names, layer_a, layer_b)
        found = together(x, y, how.n_permutations, shared.n_bootstrap, rng)
        yield {"layer_a": layer_a, "layer_b": layer_b, "n_pairs": len(x), **found}
