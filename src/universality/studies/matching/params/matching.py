"""Parameters of the feature-matching study."""

from typing import Annotated

from pydantic import Field

from universality.core.params.base import Id, Section


class Pair(Section):
    """Two models, or two SAE seeds of one model, whose features are matched."""

    a: Annotated[Id, Field(description="model A: each of its features looks for a partner")]
    b: Annotated[Id, Field(description="model B")]
    a_seed: Annotated[int, Field(ge=0, description="SAE seed of A")]
    b_seed: Annotated[int, Field(ge=0, description="SAE seed of B")]


class PairFilters(Section):
    """Which pairs of features are dropped, in this order; results are given with and without."""

    n_top: Annotated[int, Field(ge=1, description="strongest positions that give the top tokens")]
    non_concept: Annotated[
        bool,
        Field(description="drop pairs with a top token of `non_concept` in data/concepts.yaml"),
    ]
    shared_token: Annotated[bool, Field(description="drop pairs whose top tokens are disjoint")]
    one_per_b: Annotated[bool, Field(description="keep the best of pairs that share a partner")]
    min_r: Annotated[
        float | None, Field(ge=-1, lt=1, description="drop pairs of at most this r; null: none")
    ]


class Subsets(Section):
    """Positions of a concept's words and stories about it, on which features are matched anew."""

    topic_share: Annotated[
        float, Field(gt=0, lt=1, description="share of the documents that are text of one topic")
    ]
    min_positions: Annotated[int, Field(ge=10, description="least positions to match anew on")]


class Concepts(Section):
    """How features and positions are told to belong to a concept of data/concepts.yaml."""

    min_hits: Annotated[int, Field(ge=1, description="top tokens that must be keywords")]
    n_random: Annotated[int, Field(ge=19, description="random sets of as many features, as null")]
    subsets: Annotated[Subsets | None, Field(description="null: features are not matched anew")]


class ConceptLists(Section):
    """data/concepts.yaml."""

    non_concept: Annotated[list[str], Field(description="tokens that name nothing")]
    concepts: Annotated[dict[Id, list[str]], Field(min_length=1, description="keywords by name")]


class Matching(Section):
    """How features are matched and tested."""

    min_count: Annotated[int, Field(ge=1, description="positions a feature must fire on")]
    n_null: Annotated[int, Field(ge=1, description="random circular shifts of the positions of B")]
    n_groups: Annotated[
        int, Field(ge=2, description="groups of documents that are left out, for intervals")
    ]
    memory_mb: Annotated[float, Field(gt=0, description="for blocks of features, beside the files")]
    threshold: Annotated[float, Field(gt=0, lt=1, description="correlation of a shared feature")]
    transport_epsilon: Annotated[
        float | None,
        Field(ge=0.01, description="entropy of optimal transport; null: without that pairing"),
    ]
    variants: Annotated[
        bool, Field(description="also match with rare features, and with the beginning of texts")
    ]
    filters: PairFilters
    concepts: Concepts
    seed: Annotated[int, Field(ge=0, description="of the null and of the groups")]
