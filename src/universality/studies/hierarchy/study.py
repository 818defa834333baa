"""The claims about one space of token representations, beside their controls.

Three controls, of which the paper has the first: `shuffled`, the representations of all tokens
exchanged at random; `nested`, those of the graph's own tokens exchanged, so that random sets of
the same kind of words lie in each other as the real ones do; and for child and parent
`random_child`, a random part of the real parent. In all three sets keep their sizes and nesting.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from universality.core.stats import jackknife_interval, ratio_interval
from universality.studies.hierarchy import claims
from universality.studies.hierarchy.graph import Concepts
from universality.studies.hierarchy.params.hierarchy import Hierarchy, Nulls
from universality.studies.hierarchy.vectors import (
    Estimator,
    concept_vectors,
    cosines,
    shared_moments,
)

Values = dict[str, np.ndarray]
"""Statistic -> its values, one per concept, edge, chain or pair."""

CORRELATION = (-1.0, 1.0)
"""The range of a correlation or a cosine."""


@dataclass(frozen=True)
class Space:
    """Representations of tokens and the concepts in them."""

    rows: np.ndarray
    """Whitened representations, `(n, d)`."""
    concepts: Concepts
    """Its tokens are rows."""
    family: claims.Family
    estimator: Estimator
    settings: Hierarchy

    def vectors(self, members: Sequence[np.ndarray]) -> np.ndarray:
        """Return the vectors of concepts `(k, d)` that have the rows `members`."""
        moments = shared_moments(self.rows, members, self.family.largest_part)
        return concept_vectors(self.rows, members, self.estimator, moments)


def measure(
    space: Space, members: Sequence[np.ndarray], vectors: np.ndarray, rng: np.random.Generator
) -> Values:
    """Return every statistic but the correlations with closeness.

    Of concepts with `members` and their `vectors` `(k, d)`.
    """
    family, parents = space.family, space.concepts.parents
    child, chain_child = family.edges[:, 0], family.chains[:, 0]
    values: Values = {
        "to_parent": claims.to_parent(vectors, family.edges),
        "to_stranger": cosines(
            vectors[child] - vectors[family.strangers], vectors[family.strangers]
        ),
        "to_grandparent": claims.to_grandparent(vectors, family.chains),
        "to_strange_grandparent": cosines(
            vectors[chain_child] - vectors[family.above_strangers[:, 0]],
            vectors[family.above_strangers[:, 0]] - vectors[family.above_strangers[:, 1]],
        ),
    }
    for name in ("to_parent", "to_grandparent"):
        values[f"{name}_abs"] = np.abs(values[name])
    pairs = claims.siblings(parents)
    differences = claims.from_parents(vectors, parents)
    values["siblings"] = cosines(differences[pairs[:, 0]], differences[pairs[:, 1]])
    found = claims.held_out(
        space.rows, members, family, space.estimator, space.settings.train_share,
        space.settings.min_rest, rng,
    )  # fmt: skip
    values |= {f"held_out_{name}": value for name, value in vars(found).items()}
    # What a child lacks of its parent's vector, 0 if orthogonal, and has more than others.
    values["held_out_rest_above_child"] = found.rest_on_rest - found.child_on_rest
    values["held_out_child_above_stranger"] = found.child_on_rest - found.stranger_on_rest
    return values


def heat_maps(space: Space, vectors: np.ndarray) -> dict[str, np.ndarray]:
    """Return the cosines of all concepts, and of their differences from first parents, `(k, k)`."""
    unit = claims.unit(vectors)
    differences = claims.unit(claims.from_parents(vectors, space.concepts.parents))
    return {"cosine": unit @ unit.T, "cosine_differences": differences @ differences.T}


def correlations(
    space: Space, maps: Mapping[str, np.ndarray], groups: np.ndarray | None = None
) -> dict[str, tuple[float, np.ndarray]]:
    """Return how `heat_maps` go with WordNet's closeness, over all pairs and pairs apart.

    And the same without each of `groups` `(k,)` of concepts.
    """
    related, found = space.family, {}
    for ending, name in (("", "cosine"), ("_differences", "cosine_differences")):
        for kind, chosen in (("", None), ("_apart", related.apart)):
            found[f"closeness{ending}{kind}"] = claims.closeness_correlation(
                maps[name], related.closeness, chosen, groups
            )
    return found


def orders(
    n_rows: int, tokens: np.ndarray, nulls: Nulls, rng: np.random.Generator
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield, draw by draw, the name of a control and an order of rows `(n_rows,)`.

    In `nested` ones only the graph's `tokens` change places. Row `order[i]` stands for row i.
    """
    for _ in range(nulls.n_nested):
        order = np.arange(n_rows)
        order[tokens] = rng.permutation(tokens)
        yield "nested", order
    for _ in range(nulls.n_shuffled):
        yield "shuffled", rng.permutation(n_rows)


def controls(
    space: Space, nulls: Nulls, rng: np.random.Generator
) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yield the name of a control and the members of its concepts, draw by draw."""
    for name, order in orders(len(space.rows), space.concepts.tokens, nulls, rng):
        yield name, [np.sort(order[some]) for some in space.concepts.members]


@dataclass(frozen=True)
class Outcome:
    """What `study` finds of a space."""

    summary: pd.DataFrame
    """A row per statistic: `value` with interval, and every control with its range."""
    heat: pd.DataFrame
    """What the heat maps show, a row per pair of concepts (`heat_table`)."""


def study(space: Space, nulls: Nulls, rng: np.random.Generator) -> Outcome:
    """Measure the real concepts and their controls in `space`.

    Intervals of means are bootstrapped over parents, since siblings are not independent; those of
    correlations are jackknifed over groups of concepts. A control has the mean of its draws and
    their range: it has too few for a p-value.
    """
    concepts, settings = space.concepts, space.settings
    members = concepts.members
    vectors = space.vectors(members)
    real = measure(space, members, vectors, rng)
    maps = heat_maps(space, vectors)
    group = rng.permutation(len(concepts.names)) % settings.n_groups
    related = correlations(space, maps, group)
    drawn: dict[str, list[dict[str, float]]] = {"nested": [], "shuffled": [], "random_child": []}
    control_maps = None
    for control, some in controls(space, nulls, rng):
        found = space.vectors(some)
        values = {name: _mean(one) for name, one in measure(space, some, found, rng).items()}
        found_maps = heat_maps(space, found)
        close = {name: value for name, (value, _) in correlations(space, found_maps).items()}
        drawn[control].append(values | close)
        control_maps = control_maps or found_maps
    for _ in range(nulls.n_random_children):
        some = claims.random_children(
            space.rows, vectors, members, space.family.edges, space.estimator, rng
        )
        drawn["random_child"].append(
            {"to_parent": float(some.mean()), "to_parent_abs": float(np.abs(some).mean())}
        )
    groups = _groups(space)
    rows = [
        {"statistic": name, "n": int(np.isfinite(values).sum()), "value": _mean(values)}
        | _ends(mean_interval(values, groups[_unit_of(name)], settings.n_bootstrap, rng))
        for name, values in real.items()
        if np.isfinite(values).any()
    ]
    for name, (value, left) in related.items():
        known = np.isfinite(left).all()
        interval = jackknife_interval(value, left, CORRELATION) if known else (np.nan, np.nan)
        rows.append({"statistic": name, "n": len(concepts.names), "value": value} | _ends(interval))
    summary = pd.DataFrame([row | beside(str(row["statistic"]), drawn) for row in rows])
    return Outcome(summary, heat_table(space, maps["cosine"], control_maps))


def beside(statistic: str, drawn: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, float]:
    """Return mean and range of a statistic over the draws of every control that has it."""
    found = {}
    for control, draws in drawn.items():
        values = np.array([draw.get(statistic, np.nan) for draw in draws])
        values = values[np.isfinite(values)]
        if len(values):
            found |= mean_and_range(control, values)
    return found


def mean_and_range(control: str, draws: np.ndarray) -> dict[str, float]:
    """Return mean, least and most of the `draws` of a control: `x`, `x_low` and `x_high`."""
    return {
        control: float(draws.mean()),
        f"{control}_low": float(draws.min()),
        f"{control}_high": float(draws.max()),
    }


def mean_interval(
    values: np.ndarray, groups: np.ndarray, n_bootstrap: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the 95% interval of the mean of `values` `(n,)` over resampled `groups` `(n,)`.

    NaN counts for nothing.
    """
    known = np.isfinite(values)
    number = np.unique(groups[known], return_inverse=True)[1]
    return ratio_interval(
        np.bincount(number, weights=values[known]), np.bincount(number), n_bootstrap, rng
    )


def heat_table(
    space: Space, cosine: np.ndarray, control: Mapping[str, np.ndarray] | None
) -> pd.DataFrame:
    """Return what the heat maps show: closeness and cosine of concepts i < j of the tree order.

    In hundredths, as whole numbers, and without i and j, which follow from the order of the rows:
    (0, 1), (0, 2), ... `cosine_nested` is of the first nested control.
    """
    order = claims.tree_order(space.concepts.parents)
    i, j = np.triu_indices(len(order), 1)
    columns = {"closeness": space.family.closeness, "cosine": cosine}
    if control is not None:
        columns["cosine_nested"] = control["cosine"]
    return pd.DataFrame(
        {name: np.round(100 * map_[order[i], order[j]]).astype(np.int8)
         for name, map_ in columns.items()}
    )  # fmt: skip


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _ends(interval: tuple[float, float]) -> dict[str, float]:
    return {"low": interval[0], "high": interval[1]}


def _unit_of(name: str) -> str:
    if name in ("held_out_test", "held_out_random"):
        return "concept"
    if "grandparent" in name:
        return "chain"
    return "siblings" if name == "siblings" else "edge"


def _groups(space: Space) -> dict[str, np.ndarray]:
    """Return what the intervals are taken over, for each unit: parents."""
    parents = space.concepts.parents
    first = np.array([some[0] if some else -1 for some in parents])
    return {
        "concept": first,
        "edge": space.family.edges[:, 1],
        "chain": space.family.chains[:, 1],
        "siblings": first[claims.siblings(parents)[:, 0]],
    }
