"""Tables of the study of hierarchy."""

from collections.abc import Mapping

from universality.core.names import model as model_name
from universality.core.numbers import AllMetrics, Number, null_of
from universality.present.paper.table import Cell, Table

POLYTOPES = ("animals", "mammals_birds_fish", "plants", "foods", "artifacts")
INTERVENTIONS = (
    "organism_animal", "animal_mammal", "animal_bird", "artifact_vehicle", "artifact_clothing",
    "food_meat", "food_fruit",
)  # fmt: skip
"""Parent and child."""
FEATURES = {
    "selectivity": "fires on the concept less on others, held out",
    "own_cosine": "cosine with the concept's vector",
    "stranger_cosine": "cosine with another concept's vector",
    "random_feature_cosine": "cosine of random features with its vector",
    "made_of_cosine": "cosine of a sum of a few features with its vector",
    "made_of_own": "share of these few that are among the selective ones",
}


Entries = Mapping[str, Mapping[str, float]]
"""The numbers of the study: id -> metric -> value."""


def tables(metrics: AllMetrics) -> list[Table]:
    """Return the tables of this study; `metrics` says which entries there are."""
    known = metrics["hierarchy"]
    return [_polytopes(known), _interventions(known), _features(known)]


def _graphs(known: Entries, ending: str) -> list[str]:
    """Return the graphs, as smollm2_nouns, that have an entry `<graph>_<ending>`."""
    return sorted(name.removesuffix(f"_{ending}") for name in known if name.endswith(f"_{ending}"))


def _named(graph: str) -> str:
    return model_name(graph.rpartition("_")[0])


def _polytopes(known: Entries) -> Table:
    rows: list[list[Cell]] = []
    for graph in _graphs(known, "polytopes"):
        for name in POLYTOPES:
            at = f"hierarchy:{graph}_polytope_{name}"
            if f"{graph}_polytope_{name}_nearest_corner" not in known:
                continue
            row: list[Cell] = [f"{_named(graph)}: {name.replace('_', ' ')}"]
            for statistic in ("nearest_corner", "edge_variation", "corner_cosine"):
                value = f"{at}_{statistic}.value"
                row += [Number(value), null_of(value, end="random")]
            rows.append([*row, null_of(f"{at}_corner_cosine.value", end="nested")])
    return Table(
        "hierarchy_polytopes",
        "Categories as corners of a simplex: share of held-out words nearest to their own "
        "category's vector, variation of the edges' lengths (0: regular), and mean cosine of two "
        "corners. Beside each, random parts of the same parent, and for the cosine random words of "
        "the graph (nouns). Intervals are jackknifed over groups of words.",
        ["categories", "own corner", "parts", "edges", "parts", "cosine", "parts", "nouns"],
        rows,
    )


def _interventions(known: Entries) -> Table:
    rows: list[list[Cell]] = []
    for graph in _graphs(known, "interventions"):
        for pair in INTERVENTIONS:
            if f"{graph}_intervention_{pair}_child" not in known:
                continue
            parent, child = pair.split("_")
            row: list[Cell] = [f"{_named(graph)}: {child} − {parent}"]
            for contrast in ("child", "parent"):
                value = f"hierarchy:{graph}_intervention_{pair}_{contrast}.value"
                row += [
                    Number(value),
                    null_of(value, end="nested"),
                    null_of(value, end="random_low"),
                    null_of(value, end="random_high"),
                ]
            rows.append(row)
    return Table(
        "hierarchy_interventions",
        "Child minus parent added to the last residual: change of the mean logit of the child's "
        "held-out words less the parent's others, and of these less all other words (published: "
        "none). Beside each, the mean for a random part of the parent in the child's place, and "
        "the least and the most of random vectors as long. Intervals over documents.",
        ["vector", "child", "part", "least", "most", "parent", "part", "least", "most"],
        rows,
    )


def _features(known: Entries) -> Table:
    saes = [name for name in _graphs(known, "selectivity") if "_seed" in name]
    rows: list[list[Cell]] = []
    for statistic, label in FEATURES.items():
        row: list[Cell] = [label]
        for sae in saes:
            value = f"hierarchy:{sae}_{statistic}.value"
            row += [Number(value, 3), null_of(value, 3, end="nested")]
        rows.append(row)
    return Table(
        "hierarchy_features",
        "The SAE features that fire most selectively on a concept's words, and the concept's "
        "vector at the same place. Beside each, random words, nested alike. Intervals over "
        "parents.",
        ["of the features", *(cell for sae in saes for cell in (_sae_name(sae), "random"))],
        rows,
    )


def _sae_name(sae: str) -> str:
    """Return `SmolLM2` of `smollm2_l15_mlp_out_seed0`."""
    return model_name(sae.partition("_")[0])
