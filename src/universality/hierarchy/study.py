"""The claims about one space of token representations, beside their controls.

Three controls, of which the paper has the first: `shuffled`, the representations of all tokens
exchanged at random; `nested`, those of the graph's own tokens exchanged, so that random sets of
the same kind of words lie in each other as the real ones do; and for child and parent
`random_child`, a random part of the real parent. In all three sets keep their sizes and nesting.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from universality.hierarchy import claims
from universality.hierarchy.graph import Concepts
from universality.hierarchy.vectors import Estimator, concept_vectors, cosines, shared_moments
from universality.nulls import permutation_p
from universality.params.hierarchy import Hierarchy, Nulls
from universality.stats import jackknife_interval, percentile_interval, ratio_interval

Values = dict[str, np.ndarray]
"""Statistic -> its values, one per concept, edge, chain or pair."""

MORE_IS_BETTER = {
    "held_out_test": True,
    "held_out_child_above_stranger": True,
    "to_parent_abs": False,
    "to_grandparent_abs": False,
    "closeness": True,
    "closeness_apart": True,
    "closeness_differences": True,
    "closeness_differences_apart": True,
}
"""The claims, and whether the real hierarchy should have more or less than a random one."""


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


def orders(space: Space, nulls: Nulls, rng: np.random.Generator) -> Iterator[tuple[str, list]]:
    """Yield the name of a control and the members of its concepts, draw by draw."""
    members = space.concepts.members
    tokens = space.concepts.tokens
    for _ in range(nulls.n_nested):
        order = np.arange(len(space.rows))
        order[tokens] = rng.permutation(tokens)
        yield "nested", [np.sort(order[some]) for some in members]
    for _ in range(nulls.n_shuffled):
        order = rng.permutation(len(space.rows))
        yield "shuffled", [np.sort(order[some]) for some in members]


@dataclass(frozen=True)
class Outcome:
    """What `study` finds of a space."""

    summary: pd.DataFrame
    """A row per statistic: `value` with interval, and every control with its range."""
    edges: pd.DataFrame
    """A row per child and parent."""
    concepts: pd.DataFrame
    """A row per concept."""
    heat: pd.DataFrame
    """A row per pair of concepts, real and as a nested control has it, in tree order."""


def study(space: Space, nulls: Nulls, rng: np.random.Generator) -> Outcome:
    """Measure the real concepts and their controls in `space`.

    Intervals of means are bootstrapped over parents, since siblings are not independent; those of
    correlations are jackknifed over groups of concepts. A control has the mean of its draws, their
    central 95%, and p of the claim's direction where there is a claim.
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
    for control, some in orders(space, nulls, rng):
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
        interval = jackknife_interval(value, left) if np.isfinite(left).all() else (np.nan, np.nan)
        rows.append({"statistic": name, "n": len(concepts.names), "value": value} | _ends(interval))
    summary = pd.DataFrame([row | beside(row, drawn) for row in rows])
    return Outcome(
        summary, edge_table(concepts, space.family.edges, real), node_table(concepts, real),
        heat_table(space, maps, control_maps),
    )  # fmt: skip


def beside(
    row: Mapping[str, Any], drawn: Mapping[str, Sequence[Mapping[str, float]]]
) -> dict[str, float]:
    """Return the controls of a statistic: mean, central 95% of the draws, and p of a claim."""
    name, found = row["statistic"], {}
    for control, draws in drawn.items():
        values = np.array([draw.get(name, np.nan) for draw in draws])
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        found[control] = float(values.mean())
        found[f"{control}_low"], found[f"{control}_high"] = percentile_interval(values)
        if name in MORE_IS_BETTER:
            sign = 1 if MORE_IS_BETTER[name] else -1
            found[f"{control}_p"] = permutation_p(sign * row["value"], sign * values)
    return found


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


def edge_table(concepts: Concepts, edges: np.ndarray, real: Values) -> pd.DataFrame:
    """Return a row per child and parent with the cosines of `real`."""
    names = np.array(concepts.names)
    sizes = np.array([len(some) for some in concepts.members])
    child, parent = edges.T
    return pd.DataFrame(
        {"child": names[child], "parent": names[parent],
         "n_child": sizes[child], "n_parent": sizes[parent]}
        | {name: real[name] for name in ("to_parent", "to_stranger")}
        | {f"{name}_on_rest": real[f"held_out_{name}_on_rest"] for name in ("rest", "child")}
    )  # fmt: skip


def node_table(concepts: Concepts, real: Values) -> pd.DataFrame:
    """Return a row per concept with its mean projections."""
    return pd.DataFrame(
        {"concept": concepts.names, "n_tokens": [len(some) for some in concepts.members]}
        | {name: real[f"held_out_{name}"] for name in ("train", "test", "random")}
    )


def heat_table(
    space: Space, maps: Mapping[str, np.ndarray], control: Mapping[str, np.ndarray] | None
) -> pd.DataFrame:
    """Return closeness and cosines of concepts i < j of the tree order, to three decimals."""
    order = claims.tree_order(space.concepts.parents)
    i, j = np.triu_indices(len(order), 1)
    pair = (order[i], order[j])
    columns = {"closeness": space.family.closeness, **maps}
    columns |= {f"{name}_nested": map_ for name, map_ in (control or {}).items()}
    table = {name: np.round(map_[pair], 3).astype(np.float32) for name, map_ in columns.items()}
    return pd.DataFrame({"i": i.astype(np.int32), "j": j.astype(np.int32)} | table)


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _ends(interval: tuple[float, float]) -> dict[str, float]:
    return {"low": interval[0], "high": interval[1]}


def _unit_of(name: str) -> str:
    if name in ("held_out_train", "held_out_test", "held_out_random"):
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
