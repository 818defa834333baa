"""Parameters of the study of spaces: CCA and its relatives."""

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from universality.core.params.base import Id, Section
from universality.studies.matching.params.matching import Pair
from universality.studies.spaces.similarity.measures import MEASURES


def _known(name: str) -> str:
    if name not in MEASURES:
        raise ValueError(f"there is no such measure; there are: {', '.join(MEASURES)}")
    return name


Measure = Annotated[str, AfterValidator(_known)]
"""The name of a measure of similarity."""


class ComparedPair(Pair):
    """A pair of `pairs` whose spaces are compared, and an untrained LM as control."""

    control: Annotated[Id, Field(description="an untrained LM that stands in for B")]
    control_seed: Annotated[int, Field(ge=0, description="SAE seed of the control")]

    @property
    def pair(self) -> Pair:
        """The pair as `pairs` has it."""
        return Pair(a=self.a, b=self.b, a_seed=self.a_seed, b_seed=self.b_seed)


class Similarity(Section):
    """How representations are compared, and what they are judged by."""

    layer_measures: Annotated[
        list[Measure],
        Field(min_length=1, description="measures between all layers"),
    ]
    decoder_measures: Annotated[
        list[Measure], Field(min_length=1, description="measures of decoder rows")
    ]
    n_documents: Annotated[int, Field(ge=8, description="validation documents, at most")]
    per_document: Annotated[int, Field(ge=1, description="positions drawn from each")]
    distances_per_document: Annotated[
        int, Field(ge=1, description="of these, for measures of the distances between all")
    ]
    n_directions: Annotated[
        int, Field(ge=2, description="principal components that a representation is reduced to")
    ]
    variance_share: Annotated[float, Field(gt=0, le=1, description="of SVCCA")]
    ridge: Annotated[float, Field(gt=0, description="of regularised CCA, of the mean variance")]
    n_neighbours: Annotated[int, Field(ge=1, description="of mutual k-nearest neighbours")]
    n_permutations: Annotated[int, Field(ge=19, description="of documents or of pairs, as null")]
    n_subsets: Annotated[int, Field(ge=19, description="random subsets of pairs, as null")]
    n_groups: Annotated[int, Field(ge=3, description="groups left out in turn, for intervals")]
    n_pairs: Annotated[int, Field(ge=20, description="pairs of features compared, at most")]
    n_distances: Annotated[
        int, Field(ge=20, description="of these, for measures of the distances between all")
    ]
    min_pairs: Annotated[int, Field(ge=8, description="least pairs or positions of a concept")]
    batch_tokens: Annotated[int, Field(ge=64, description="tokens in a forward pass, about")]
    seed: Annotated[int, Field(ge=0, description="of samples, nulls and subsets")]

    @model_validator(mode="after")
    def _possible(self) -> "Similarity":
        if "linear_cka_unbiased" not in self.layer_measures:
            raise ValueError(
                "layer_measures lacks linear_cka_unbiased, which finds the layers that are most "
                "alike"
            )
        if self.distances_per_document > self.per_document:
            raise ValueError(
                f"distances_per_document is {self.distances_per_document}, more than "
                f"per_document, {self.per_document}"
            )
        return self


class Audit(Pair):
    """What the published SVCCA measures, on two of our models and on random numbers."""

    layers: Annotated[
        list[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]],
        Field(min_length=1, description="layers of A and of B whose decoders are compared"),
    ]
    n_documents: Annotated[int, Field(ge=4, description="validation documents, at most")]
    random_n: Annotated[
        list[Annotated[int, Field(ge=4)]], Field(description="numbers of random pairs of rows")
    ]
    random_d: Annotated[tuple[int, int], Field(description="their columns")]
    n_random: Annotated[int, Field(ge=2, description="repetitions")]
