"""Parameters of the feature-matching study."""

from typing import Annotated

from pydantic import Field

from universality.params.base import Id, Section


class Pair(Section):
    """Two models, or two SAE seeds of one model, whose features are matched."""

    a: Annotated[Id, Field(description="model A: each of its features looks for a partner")]
    b: Annotated[Id, Field(description="model B")]
    a_seed: Annotated[int, Field(ge=0, description="SAE seed of A")]
    b_seed: Annotated[int, Field(ge=0, description="SAE seed of B")]


class Matching(Section):
    """How features are matched and tested."""

    min_count: Annotated[int, Field(ge=1, description="positions a feature must fire on")]
    n_null: Annotated[int, Field(ge=1, description="random circular shifts of the positions of B")]
    n_bootstrap: Annotated[int, Field(ge=100, description="resamples of documents for intervals")]
    n_scatter: Annotated[
        int, Field(ge=1, description="feature pairs in the scatter figure, from best to typical")
    ]
    memory_mb: Annotated[float, Field(gt=0, description="for blocks of features, beside the files")]
    threshold: Annotated[float, Field(gt=0, lt=1, description="correlation of a shared feature")]
    seed: Annotated[int, Field(ge=0, description="of the null and of the bootstrap")]
