"""Parameters of the maps of features, of their clusters and of words of a known order."""

from typing import Annotated, Literal

from pydantic import Field, RootModel, model_validator

from universality.core.params.base import Id, Section
from universality.studies.matching.params.matching import Pair

Part = Literal["points", "cca", "clusters", "shapes", "words"]


class FeatureMap(Pair):
    """A matched pair, and the layer of each model whose features are mapped."""

    parts: Annotated[
        list[Part],
        Field(
            description="what there is beside circles: points of the maps, CCA on them, clusters "
            "of features, shapes of clusters, or words in reconstructions and in the text"
        ),
    ]

    layer_a: Annotated[int, Field(ge=0, description="layer of A")]
    layer_b: Annotated[int, Field(ge=0, description="layer of B")]


class Maps(Section):
    """How features are mapped and clustered, and how words of a known order are tested."""

    max_rows: Annotated[
        int, Field(ge=40, description="features of each model on a map, matched ones first")
    ]
    n_neighbors: Annotated[int, Field(ge=2, description="UMAP's n_neighbors")]
    min_dist: Annotated[float, Field(ge=0, lt=1, description="UMAP's min_dist, of 2-D maps")]
    cluster_components: Annotated[int, Field(ge=2, description="UMAP's dimension for clusters")]
    cluster_min_dist: Annotated[float, Field(ge=0, lt=1, description="its min_dist for clusters")]
    n_epochs: Annotated[int, Field(ge=20, description="UMAP's n_epochs; its own default is 500")]
    min_cluster_size: Annotated[int, Field(ge=2, description="HDBSCAN's, and of graph clusters")]
    n_top: Annotated[int, Field(ge=1, description="strongest positions that name a feature")]
    n_components: Annotated[int, Field(ge=2, description="principal components for CCA, at most")]
    graph_neighbours: Annotated[int, Field(ge=1, description="links of a feature in the graph")]
    graph_false: Annotated[
        float, Field(gt=0, lt=1, description="share of random directions that may have a link")
    ]
    n_graphs: Annotated[int, Field(ge=1, description="random decoders, the null of the graph")]
    n_shapes: Annotated[int, Field(ge=1, description="graph clusters tested for irreducibility")]
    shape_positions: Annotated[int, Field(ge=20, description="positions of such a test, at most")]
    epsilon: Annotated[float, Field(gt=0, lt=1, description="of the mixture index")]
    n_angles: Annotated[int, Field(ge=4, description="rotations searched by both indices")]
    n_planes: Annotated[int, Field(ge=1, description="planes of neighbouring components")]
    min_positions: Annotated[int, Field(ge=2, description="of every word, to test its order")]
    batch_tokens: Annotated[int, Field(ge=64, description="tokens in a forward pass, about")]
    n_null: Annotated[int, Field(ge=2, description="clouds without structure, null of shapes")]
    n_permutations: Annotated[int, Field(ge=19, description="permutations for p-values")]
    n_groups: Annotated[int, Field(ge=2, description="groups left out for intervals")]
    seed: Annotated[int, Field(ge=0, description="of maps, nulls and samples")]


class Cycle(Section):
    """Words of a known order and the beginnings of sentences that they end."""

    closed: Annotated[bool, Field(description="whether the first word comes after the last")]
    words: Annotated[list[str], Field(min_length=4, description="in their order")]
    beginnings: Annotated[list[str], Field(min_length=2, description="of sentences")]

    @model_validator(mode="after")
    def _check(self) -> "Cycle":
        for name in ("words", "beginnings"):
            found = getattr(self, name)
            if len(set(found)) < len(found):
                raise ValueError(f"{name} names one twice")
        return self


class Cycles(RootModel[dict[Id, Cycle]]):
    """data/cycles.yaml."""
