"""Parameters of the decomposition of steering vectors into SAE features."""

from typing import Annotated

from pydantic import Field

from universality.core.params.base import Id, Section
from universality.studies.steering.params.steering import Multiplier

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


class SteeredParts(Section):
    """A model that is steered with parts of vectors, and its SAEs."""

    folder: Folder
    saes: SaeIds
    centred: Centred
    downstream: Annotated[
        list[Id],
        Field(description="SAEs of later layers, to patch them in"),
    ]
    contrasts: Contrasted
    multipliers: Multipliers
    n_prompts: Annotated[int, Field(ge=2, description="prompts of a contrast, from the first")]
    n_new: Annotated[int, Field(ge=1, le=512, description="tokens of a continuation")]
