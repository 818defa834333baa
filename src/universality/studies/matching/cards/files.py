"""The cards of one pair of models, from feature directories and matching tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from universality.core.engine.moments import Sparse
from universality.core.errors import InputError
from universality.core.io import read_table
from universality.core.progress import progress
from universality.core.randomness import generator
from universality.core.stats import document_weights
from universality.studies.matching.cards.asymmetry import Asymmetry, asymmetry, summary_table
from universality.studies.matching.cards.cards import (
    Card,
    Reading,
    card_table,
    choose_pairs,
    context_table,
    habits,
    layer_cards,
    reading,
)
from universality.studies.matching.files import align_directories, find_saes, read_features
from universality.studies.matching.params.cards import Cards
from universality.studies.matching.params.matching import Pair
from universality.studies.matching.tables import best_layers


@dataclass(frozen=True)
class Found:
    """What the stage writes, and what the page says of it."""

    cards: list[Card]
    tables: dict[str, pd.DataFrame]
    """asymmetry, summary, cards, contexts."""
    n_passed: int
    """Pairs of high r that are not shown."""
    n_positions: int
    n_documents: int
    shares: tuple[float, float]
    """Shares of A's and of B's positions that are shared."""


def read_cards(
    key: str,
    a: Path,
    b: Path,
    matches: Mapping[str, pd.DataFrame],
    texts: Mapping[int, str],
    pair: Pair,
    params: Cards,
) -> Found:
    """Return the cards of pair `key`: each layer of A with its best layer of B.

    `matches` are the tables features and headline of `matching.files.match_directories`; `texts`
    are the documents by id.
    """
    aligned, documents = align_directories(a, b)
    sides = tuple(
        reading(read_table(folder / "tokens.parquet"), texts, shared)
        for folder, shared in ((a, aligned.rows_a), (b, aligned.rows_b))
    )
    n_documents = len(np.unique(documents))
    random = generator(params.seed, "card intervals", key)
    weights = document_weights(n_documents, params.n_bootstrap, random)
    paths = find_saes(a, pair.a_seed), find_saes(b, pair.b_seed)
    study = _Study(key, paths, (sides[0], sides[1]), documents, weights, params)
    best = best_layers(matches["headline"])
    layers = [(int(i), int(j)) for i, j in best[["layer_a", "layer_b"]].to_numpy()]
    measured = [study.measure(matches["features"], *two) for two in progress(layers, desc=key)]
    table = pd.concat([one.table for one in measured], ignore_index=True)
    if not len(table):
        raise InputError(f"{key}: no feature of A is alive and has a partner: there is no pair")
    chosen, n_passed = choose_pairs(table, params)
    cards = study.cards(table, chosen)
    size = {"n_positions": len(documents), "n_documents": n_documents}
    summary = summary_table(measured, params.n_bootstrap, params.seed)
    # Half the size, and the tables are kept under version control.
    single = dict.fromkeys(table.select_dtypes("float64"), np.float32)
    tables = {
        "asymmetry": table.astype(single),
        "summary": summary.assign(**size, contained=params.contained, wider=params.wider),
        "cards": card_table(cards),
        "contexts": context_table(cards),
    }
    return Found(cards, tables, n_passed, **size, shares=(aligned.share_a, aligned.share_b))


@dataclass(frozen=True)
class _Study:
    """One pair of models; feature matrices are read when needed, one of each model at a time."""

    key: str
    paths: tuple[Mapping[int, Path], Mapping[int, Path]]
    texts: tuple[Reading, Reading]
    documents: np.ndarray
    weights: np.ndarray
    params: Cards

    def measure(self, features: pd.DataFrame, layer_a: int, layer_b: int) -> Asymmetry:
        """Return the asymmetry of the pairs of two layers, and what A's features fire on."""
        read = self._read(layer_a, layer_b)
        a, b = (side[text.rows] for side, text in zip(read, self.texts, strict=True))
        found = asymmetry(
            a,
            b,
            features.query("layer_a == @layer_a and layer_b == @layer_b"),
            self.documents,
            self.weights,
            contained=self.params.contained,
            wider=self.params.wider,
            min_documents=self.params.min_documents,
            random=generator(self.params.seed, "dealt anew", self.key, layer_a),
        )
        of = habits(a, found.table["feature_a"].to_numpy(), self.texts[0])
        return Asymmetry(found.table.assign(**of), found.resampled)

    def cards(self, table: pd.DataFrame, chosen: Mapping[int, str]) -> list[Card]:
        """Return the cards of the rows `chosen` of `table`, in their order."""
        cards: dict[int, Card] = {}
        by_layers = table.loc[list(chosen)].groupby(["layer_a", "layer_b"]).groups
        for (layer_a, layer_b), rows in by_layers.items():
            both = self._read(layer_a, layer_b)
            wanted = {row: chosen[row] for row in rows}
            cards |= layer_cards(*both, self.texts, table, wanted, self.weights, self.params)
        return [cards[row] for row in chosen]

    def _read(self, *layers: int) -> tuple[Sparse, Sparse]:
        a, b = (
            read_features(paths[layer], np.arange(len(text.end)))
            for paths, layer, text in zip(self.paths, layers, self.texts, strict=True)
        )
        return a, b
