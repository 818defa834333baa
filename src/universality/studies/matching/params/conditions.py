"""Parameters of the study of the conditions under which features are shared."""

from typing import Annotated

from pydantic import Field, model_validator

from universality.core.params.base import Id, Section
from universality.studies.saes.params.saes import Hook, OwnSteps, Recipe

Shifts = Annotated[int, Field(ge=1, description="random circular shifts of the positions of B")]


class MatchedGrid(Section):
    """A grid of SAEs, and the two SAEs of other models that each of its SAEs is matched with.

    Both are as `sae_models` says, at the same hook.
    """

    model: Annotated[Id, Field(description="the model of the grid")]
    other: Annotated[Id, Field(description="another LM, of another seed")]
    control: Annotated[Id, Field(description="an untrained LM")]


class MatchGrids(Section):
    """How the SAEs of grids are matched; the rest is as in `matching`."""

    n_documents: Annotated[int, Field(ge=2, description="validation documents, at most")]
    batch_tokens: Annotated[int, Field(ge=64, description="tokens in a forward pass, about")]
    n_null: Shifts
    n_searched: Annotated[
        int, Field(ge=1, description="features drawn from B, so that width is not a wider search")
    ]
    sae_seed: Annotated[int, Field(ge=0, description="SAE seed of the other LM and the control")]


class Stages(Section):
    """One LM from its beginning to its end."""

    trained: Annotated[Id, Field(description="key of trained_models")]
    untrained: Annotated[Id, Field(description="key of untrained_models: where it began")]


class MatchProgress(OwnSteps):
    """SAEs of two LMs at several shares of their training; the rest is as in `matching`."""

    a: Annotated[Stages, Field(description="the LM whose features look for partners")]
    b: Annotated[Stages, Field(description="the other LM, of another seed")]
    shares: Annotated[
        list[Annotated[float, Field(gt=0, lt=1)]],
        Field(description="of the training, among small_model.checkpoints; 0 and 1 are added"),
    ]
    hooks: Annotated[list[Hook], Field(min_length=1, description="where the SAEs sit")]
    recipe: Annotated[Recipe, Field(description="of every SAE")]
    sae_seeds: Annotated[tuple[int, int], Field(description="of A's SAEs, and of their partners'")]
    n_tokens: Annotated[
        int, Field(ge=100, description="training tokens whose activations are read")
    ]
    n_samples: Annotated[int, Field(ge=100, description="activations seen, with repetition")]
    n_documents: Annotated[int, Field(ge=2, description="validation documents, at most")]
    batch_tokens: Annotated[int, Field(ge=64, description="tokens in a forward pass, about")]
    n_null: Shifts

    @model_validator(mode="after")
    def _distinct(self) -> "MatchProgress":
        for name, values in (("shares", self.shares), ("hooks", self.hooks)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name} names something twice: {values}")
        if self.sae_seeds[0] == self.sae_seeds[1]:
            raise ValueError(f"sae_seeds are both {self.sae_seeds[0]}, expected two different ones")
        return self
