"""Stitch every layer of A into every layer of B, and measure what B's loss becomes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from universality.core.corpora import load_tokenizer, load_tokens
from universality.core.errors import InputError
from universality.core.features import hook_rows, position_table
from universality.core.models import load_bridge
from universality.core.progress import progress
from universality.core.splicing import Intervals, SplicedModel
from universality.studies.matching.files import shared_positions
from universality.studies.spaces.params.layers import Stitching
from universality.studies.spaces.similarity.stitching import AffineMap, apply, explained, fit

SOURCES = ("a", "shuffled", "control")
"""A; A with its positions shuffled for the fit, the null; an untrained model in its place."""
_CHUNK = 4096


@dataclass(frozen=True)
class Reading:
    """What a model makes of a text, without BOS, in reading order."""

    positions: pd.DataFrame
    """As `features.position_table`."""
    place: np.ndarray
    """Index of each of them in the tokens of the text, `(n,)`."""
    layers: list[np.ndarray]
    """Residual stream after each block, `(n, d)`, float32."""


class Reader:
    """A language model on the texts of the fit (`train`) and of the judgement (`validation`)."""

    def __init__(self, model: Path, corpus: Path, max_tokens: int, section: Stitching) -> None:
        """Load the model and tokenize the texts."""
        self.model, self.bridge, self._size = model, load_bridge(model), section.batch_tokens
        self.hooks = [
            f"blocks.{layer}.hook_resid_post" for layer in range(self.bridge.cfg.n_layers)
        ]
        sizes = {"train": section.n_fit_documents, "validation": section.n_documents}
        self.tokens = {
            split: load_tokens(corpus, split, model, max_tokens, n) for split, n in sizes.items()
        }

    def read(self, split: str) -> Reading:
        """Run the model on a text."""
        tokens = self.tokens[split]
        found = hook_rows(self.bridge, tokens, self.hooks, self._size)
        positions = position_table(tokens, found.place, load_tokenizer(self.model)[0])
        layers = [found.activations[hook].numpy() for hook in self.hooks]
        return Reading(positions, found.place, layers)

    def spliced(self) -> SplicedModel:
        """Return the model on `validation`, its layers to be replaced."""
        return SplicedModel(self.bridge, self.tokens["validation"], self.hooks, self._size)


@dataclass(frozen=True)
class Source:
    """What is put into B: activations of another model, and their maps to every layer of B."""

    name: str
    maps: list[list[AffineMap]]
    """Layer of the model -> layer of B -> map."""
    fit_r2: np.ndarray
    """Variance explained on the text of the fit, `(layers, layers of B)`."""
    x: list[np.ndarray]
    """Layer of the model -> its activations on the text of the judgement, `(n, d1)`."""
    place: np.ndarray
    """Index of each of them in B's tokens, `(n,)`, ascending."""

    def at(self, place: np.ndarray) -> "Source":
        """Return the source at some of its places."""
        part = np.searchsorted(self.place, place)
        return Source(self.name, self.maps, self.fit_r2, [x[part] for x in self.x], place)


def fit_source(
    name: str, a: tuple[Reading, Reading], b: tuple[Reading, Reading], ridge: float,
    shuffle: np.random.Generator | None = None,
) -> Source:  # fmt: skip
    """Fit maps from the layers of A to those of B, given what each makes of (train, validation).

    Fitted and stitched are the places where both tokenizers end a token. With `shuffle`, each
    position of A is fitted to a random one of B: the null.
    """
    aligned, _ = shared_positions(a[0].positions, b[0].positions, name)
    rows_b = aligned.rows_b if shuffle is None else shuffle.permutation(aligned.rows_b)
    y = [layer[rows_b] for layer in b[0].layers]
    maps, fit_r2 = [], []
    for layer in progress(a[0].layers, desc=f"fit {name}"):
        x = layer[aligned.rows_a]
        maps.append(_fit_all(x, y, ridge))
        fit_r2.append([explained(found, x, of_b) for found, of_b in zip(maps[-1], y, strict=True)])
    at, _ = shared_positions(a[1].positions, b[1].positions, name)
    x = [layer[at.rows_a] for layer in a[1].layers]
    return Source(name, maps, np.array(fit_r2), x, b[1].place[at.rows_b])


def _fit_all(x: np.ndarray, layers: list[np.ndarray], ridge: float) -> list[AffineMap]:
    """Return the map of `x` to each of `layers`: columns of one, whose solution needs x'x once."""
    d = layers[0].shape[1]
    parts = [slice(first, first + _CHUNK) for first in range(0, len(x), _CHUNK)]
    chunks = ((x[part], np.hstack([layer[part] for layer in layers])) for part in parts)
    found = fit(chunks, ridge)
    return [
        AffineMap(found.weight[:, first : first + d], found.origin, found.mean[first : first + d])
        for first in range(0, found.weight.shape[1], d)
    ]


def stitch(
    model: SplicedModel, hooks: list[str], sources: list[Source], intervals: Intervals
) -> dict[str, pd.DataFrame]:
    """Return the tables `layers` (of B, as it is and ablated), `stitches`, and `best`.

    `sources` are named as SOURCES. All replace the same tokens: those where every source has a
    token's end too; a document's last token predicts nothing and is left. Every layer of A is
    stitched; of the others the one that `best` needs: for each layer of B it is the layer of A, and
    of the control, that explains most on the text of the fit, and A's with positions shuffled.
    """
    place = model.place
    for source in sources:
        place = np.intersect1d(place, source.place)
    if not len(place):
        raise InputError("no position of the validation documents is shared: nothing to stitch")
    rows, sources = np.searchsorted(model.place, place), [source.at(place) for source in sources]
    layers, stitches, best = [], [], []
    for layer, hook in enumerate(progress(hooks, desc="stitch")):
        outcome = _Outcome(model, hook, rows, sources[0].maps[0][layer].mean, intervals)
        layers.append({"layer_b": layer, **outcome.ends()})
        chosen = {source.name: int(np.argmax(source.fit_r2[:, layer])) for source in sources}
        chosen["shuffled"] = chosen["a"]
        losses = {}
        for source in sources:
            every = range(len(source.x)) if source.name == "a" else [chosen[source.name]]
            for i in every:
                new = apply(source.maps[i][layer], source.x[i])
                losses[source.name, i] = outcome.losses(new)
                where = {"source": source.name, "layer_a": i, "layer_b": layer}
                r2 = explained(source.maps[i][layer], source.x[i], model.activations[hook][rows])
                r2s = {"fit_r2": source.fit_r2[i, layer], "r2": r2}
                stitches.append(where | r2s | outcome.row(losses[source.name, i]))
        best.append({"layer_b": layer, **_best(chosen, losses, outcome)})
    counts = {"n_replaced": len(rows), "n_judged": len(model.place)}
    counts["n_documents"] = len(np.unique(model.documents[rows]))
    tables = {"layers": layers, "stitches": stitches, "best": best}
    return {name: pd.DataFrame(found).assign(**counts) for name, found in tables.items()}


class _Outcome:
    """What replacing rows of one layer does to the loss."""

    def __init__(
        self, model: SplicedModel, hook: str, rows: np.ndarray, mean: np.ndarray,
        intervals: Intervals,
    ) -> None:  # fmt: skip
        """Take the ablation with `mean` `(d,)`, the lower end of `recovered`."""
        self.model, self.hook, self.rows, self.intervals = model, hook, rows, intervals
        self.ablated = self.losses(mean)

    def losses(self, new: np.ndarray) -> np.ndarray:
        """Cross-entropy of each judged prediction with `new` at the rows, nats, `(n_judged,)`."""
        whole = self.model.activations[self.hook].copy()
        whole[self.rows] = new
        return self.model.losses(self.hook, whole)

    def ends(self) -> dict[str, float]:
        """Return the loss of B as it is, and ablated, nats per token."""
        ratio = self.intervals.ratio
        return ratio("ce_clean", self.model.clean) | ratio("ce_mean", self.ablated)

    def row(self, losses: np.ndarray) -> dict[str, float]:
        """Return ce (nats per token) and recovered, the share of what the ablation costs."""
        ratio = self.intervals.ratio
        return ratio("ce", losses) | self.recovered("recovered", self.ablated - losses)

    def recovered(self, name: str, gained: np.ndarray) -> dict[str, float]:
        """Return `gained` as a share of what the ablation costs, with its interval."""
        return self.intervals.ratio(name, gained, self.ablated - self.model.clean)


def _best(
    chosen: dict[str, int], losses: dict[tuple[str, int], np.ndarray], outcome: _Outcome
) -> dict[str, float]:
    """Return A's chosen layer, beside the same fitted to shuffled positions and the control's."""
    stitched, shuffled, control = (losses[name, chosen[name]] for name in SOURCES)
    null = outcome.recovered("recovered_null", outcome.ablated - shuffled)
    return {
        "layer_a": chosen["a"], "layer_control": chosen["control"],
        **outcome.ends(), **outcome.intervals.ratio("ce", stitched),
        **outcome.recovered("recovered", outcome.ablated - stitched),
        "recovered_null": null["recovered_null"],
        **outcome.recovered("recovered_control", outcome.ablated - control),
        **outcome.recovered("over_control", control - stitched),
    }  # fmt: skip
