"""Parameters of the interactive maps of two models' features."""

from typing import Annotated, Literal

from pydantic import Field

from universality.core.params.base import Section


class LinkedMaps(Section):
    """How features are placed on the maps, and what the page says of each."""

    max_features: Annotated[
        int, Field(ge=10, description="features of an SAE on its map; of more, as many are drawn")
    ]
    n_neighbors: Annotated[int, Field(ge=2, description="UMAP's n_neighbors")]
    min_dist: Annotated[float, Field(ge=0, lt=1, description="UMAP's min_dist")]
    n_epochs: Annotated[int, Field(ge=20, description="UMAP's n_epochs; its own default is 500")]
    layers: Annotated[
        Literal["all", "best"],
        Field(description="pairs of layers: all, or each layer of A with its best one of B"),
    ]
    n_tokens: Annotated[int, Field(ge=1, description="tokens that a feature fires on most")]
    n_top: Annotated[int, Field(ge=1, description="contexts of highest activation")]
    n_random: Annotated[int, Field(ge=0, description="contexts drawn where the feature fires")]
    before: Annotated[int, Field(ge=0, le=100, description="tokens of a context ahead of its own")]
    after: Annotated[int, Field(ge=0, le=100, description="and behind it")]
    max_mb: Annotated[float, Field(gt=0, description="size of a page, at most: it fails above")]
    seed: Annotated[int, Field(ge=0, description="of the maps and of what is drawn")]
