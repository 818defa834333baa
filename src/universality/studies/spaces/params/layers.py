"""Parameters of comparing whole layers: which is which across seeds, and stitching models."""

from typing import Annotated

from pydantic import Field, model_validator

from universality.core.params.base import Id, Section
from universality.core.params.models import SmallModel

BatchTokens = Annotated[int, Field(ge=64, description="tokens in a forward pass, about")]


class IdentifiedModels(Section):
    """The LMs whose layers are looked for: `small_model` but for these."""

    seeds: Annotated[list[int], Field(min_length=3, description="one LM each, and one untrained")]
    d_model: Annotated[int, Field(ge=8, le=4096, description="width of the residual stream")]
    n_layers: Annotated[int, Field(ge=2, le=64, description="number of blocks")]
    n_heads: Annotated[int, Field(ge=1, le=64, description="attention heads; divides d_model")]
    d_mlp: Annotated[int, Field(ge=8, le=16384, description="MLP hidden size")]
    n_tokens: Annotated[int, Field(ge=1000, description="training tokens of each")]
    batch_tokens: Annotated[int, Field(ge=64, description="tokens in a training batch, about")]
    learning_rate: Annotated[float, Field(gt=0, lt=1, description="peak of the cosine schedule")]

    @model_validator(mode="after")
    def _distinct(self) -> "IdentifiedModels":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds names something twice: {self.seeds}")
        return self

    def in_place(self, small: SmallModel) -> SmallModel:
        """Return `small` with these in the place of its own."""
        own = {name: value for name, value in self if name != "seeds"}
        return small.model_copy(update=own | {"checkpoints": []})


class LayerIdentification(Section):
    """Which layer of another LM is most like a layer, by every measure of similarity."""

    models: Annotated[IdentifiedModels, Field(description="LMs that differ in their seed alone")]
    n_documents: Annotated[int, Field(ge=2, description="validation documents, from the first")]
    batch_tokens: BatchTokens
    n_positions: Annotated[
        int, Field(ge=100, description="drawn from them; more than 5 (d1 + d2) are needed")
    ]
    n_compared: Annotated[
        int,
        Field(ge=20, description="of these, for the measures that compare samples pair by pair"),
    ]
    svcca_share: Annotated[
        float, Field(gt=0, lt=1, description="variance of the directions that SVCCA keeps")
    ]
    cca_ridge: Annotated[
        float, Field(gt=0, description="of regularised CCA, in units of the mean variance")
    ]
    bandwidths: Annotated[
        list[Annotated[float, Field(gt=0)]],
        Field(min_length=1, description="of RBF kernels, in units of the median distance"),
    ]
    n_neighbours: Annotated[int, Field(ge=1, description="of a sample, for mutual neighbours")]
    seed: Annotated[int, Field(ge=0, description="of the draw of positions")]

    @model_validator(mode="after")
    def _possible(self) -> "LayerIdentification":
        if self.n_compared > self.n_positions:
            raise ValueError(f"n_compared is {self.n_compared}, above n_positions")
        if self.n_neighbours >= self.n_compared:
            raise ValueError(f"n_neighbours is {self.n_neighbours}, expected below n_compared")
        return self


class StitchedPair(Section):
    """Two LMs, of which the first's activations are put into the second."""

    a: Annotated[Id, Field(description="model whose activations are mapped")]
    b: Annotated[Id, Field(description="model that goes on with them")]
    control: Annotated[Id, Field(description="an untrained LM in the place of A")]


class Stitching(Section):
    """How LMs are stitched."""

    n_fit_documents: Annotated[
        int, Field(ge=2, description="training documents that the maps are fitted on")
    ]
    n_documents: Annotated[int, Field(ge=4, description="validation documents, from the first")]
    batch_tokens: BatchTokens
    ridge: Annotated[
        float, Field(ge=0, description="of the maps, in units of the mean variance of A's columns")
    ]
    n_bootstrap: Annotated[int, Field(ge=100, description="resamples of documents for intervals")]
    seed: Annotated[int, Field(ge=0, description="of the shuffled pairing and of the bootstrap")]
