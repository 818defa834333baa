"""Parameters of the decomposition of steering vectors into SAE features."""

from typing import Annotated

from pydantic import Field, model_validator

from universality.params.base import Id, Section
from universality.params.steering import Multiplier

Multipliers = Annotated[list[Multiplier], Field(min_length=1, description="none of them 0")]
Folder = Annotated[str, Field(pattern=r"^[a-z0-9_/]+$", description="of the SAEs, under data/")]
Contrasted = Annotated[
    list[Id], Field(min_length=1, description="keys of data/contrasts.yaml; a vector each")
]
Centred = Annotated[
    bool, Field(description="the SAEs read activations less their mean over dimensions")
]
SaeIds = Annotated[
    list[Id], Field(min_length=1, description="SAEs at whose hooks vectors are made")
]


class DecomposedModel(Section):
    """A model whose steering vectors are decomposed, and its SAEs."""

    folder: Folder
    saes: SaeIds
    centred: Centred
    contrasts: Contrasted
    multipliers: Multipliers
    n_prompts: Annotated[int, Field(ge=2, description="prompts of a contrast, from the first")]


class Decomposition(Section):
    """How vectors are decomposed, and what that is held against."""

    l0: Annotated[int, Field(ge=1, description="features that pursuit may take, at most")]
    n_context: Annotated[int, Field(ge=10, description="positions that vectors are added to")]
    n_documents: Annotated[int, Field(ge=2, description="validation documents they are drawn from")]
    batch_tokens: Annotated[int, Field(ge=64, description="tokens in a forward pass, about")]
    zero_multipliers: Annotated[
        Multipliers, Field(description="of vectors whose encoding is held against that of zero")
    ]
    n_top: Annotated[int, Field(ge=1, description="strongest features that are compared")]
    n_random: Annotated[int, Field(ge=19, description="random vectors as long as each, as null")]


class Ablated(Section):
    """Features taken out downstream, by the words they fire on."""

    contrast: Annotated[Id, Field(description="key of data/contrasts.yaml that is steered with")]
    words: Annotated[
        dict[Id, list[str]], Field(min_length=1, description="name -> tokens of its features")
    ]


class SteeredParts(Section):
    """A model that is steered with parts of vectors, and its SAEs."""

    folder: Folder
    saes: SaeIds
    centred: Centred
    downstream: Annotated[
        list[Id],
        Field(description="SAEs of later layers: to ablate their features, and to patch them in"),
    ]
    contrasts: Contrasted
    multipliers: Multipliers
    n_prompts: Annotated[int, Field(ge=2, description="prompts of a contrast, from the first")]
    n_new: Annotated[int, Field(ge=1, le=512, description="tokens of a continuation")]
    ablated: dict[Id, Ablated]
    n_random: Annotated[int, Field(ge=19, description="random sets of features, as null")]
    n_top: Annotated[int, Field(ge=1, description="top positions that a feature is judged by")]
    min_hits: Annotated[int, Field(ge=1, description="of these on one of the words")]

    @model_validator(mode="after")
    def _within(self) -> "SteeredParts":
        if self.min_hits > self.n_top:
            raise ValueError(f"min_hits is {self.min_hits}, more than n_top, {self.n_top}")
        for name, ablated in self.ablated.items():
            if ablated.contrast not in self.contrasts:
                raise ValueError(
                    f"ablated.{name} is about {ablated.contrast!r}, which is not in contrasts"
                )
        return self
