"""Parameters of the toy models, whose features are known."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from universality.core.params.base import Id, Section
from universality.studies.saes.params.saes import Architecture, OwnSteps, Recipe


class ToyCondition(Section):
    """How the features of a toy model depend on each other."""

    kind: Annotated[
        Literal["independent", "groups", "pairs", "children"],
        Field(description="which features fire together; see saes.study.toy.firings"),
    ]
    strength: Annotated[
        float,
        Field(ge=0, le=1, description="groups: correlation of the Gaussians that are cut; pairs: "
              "share of a feature's firings with its partner; children: share of a parent's "
              "firings with its child; independent: not used"),
    ]  # fmt: skip


class ToyFamily(Section):
    """SAEs of one architecture, swept in sparsity."""

    architecture: Annotated[Architecture, Field(description="SAELens architecture")]
    sparsity: Annotated[list[float], Field(min_length=1, description="see sae_models")]
    reference: Annotated[float, Field(description="of these, the one for widths and SAE seeds")]
    expansions: Annotated[
        list[Annotated[int, Field(ge=1)]], Field(min_length=1, description="d_sae / d, each")
    ]


class Toy(OwnSteps):
    """Toy models, the SAEs trained on them, and when a feature counts as found."""

    d: Annotated[int, Field(ge=2, description="dimensions of the activations")]
    n_true: Annotated[int, Field(ge=2, multiple_of=2, description="true features")]
    density: Annotated[float, Field(gt=0, lt=0.5, description="share of samples a feature is in")]
    magnitude_sd: Annotated[float, Field(ge=0, description="of a firing feature; its mean is 1")]
    group_size: Annotated[int, Field(ge=2, description="features in a correlated group")]
    conditions: Annotated[dict[Id, ToyCondition], Field(min_length=1)]
    families: Annotated[dict[Id, ToyFamily], Field(min_length=1)]
    reference_expansion: Annotated[
        int, Field(ge=1, description="of every family's, the one at which the sparsity is swept")
    ]
    n_samples: Annotated[int, Field(ge=100, description="samples an SAE is trained on, each once")]
    n_evaluation: Annotated[int, Field(ge=100, description="fresh samples it is judged on")]
    seeds: Annotated[
        list[int], Field(min_length=2, description="of true directions, samples and SAE, together")
    ]
    sae_seeds: Annotated[
        list[int], Field(min_length=2, description="of the SAE alone, on the first seed's samples")
    ]
    found_above: Annotated[
        float, Field(gt=0, lt=1, description="decoder cosine from which a direction is found")
    ]
    carried_above: Annotated[
        float,
        Field(gt=0, lt=1, description="cosine from which a child's latent carries the parent"),
    ]
    n_null: Annotated[int, Field(ge=1, description="dictionaries drawn for each null")]

    @model_validator(mode="after")
    def _consistent(self) -> "Toy":
        if self.n_true % self.group_size:
            raise ValueError(f"group_size {self.group_size} does not divide n_true {self.n_true}")
        for name, family in self.families.items():
            if self.reference_expansion not in family.expansions:
                raise ValueError(
                    f"families.{name}.expansions lacks {self.reference_expansion}, the reference"
                )
            if family.reference not in family.sparsity:
                raise ValueError(
                    f"families.{name}.reference is {family.reference}, not in sparsity"
                )
            for sparsity in family.sparsity:
                self.recipe(name, sparsity, self.reference_expansion)
        if self.seeds[0] not in self.sae_seeds:
            raise ValueError(f"sae_seeds lacks {self.seeds[0]}, the first of seeds")
        return self

    def recipe(self, family: str, sparsity: float, expansion: int) -> Recipe:
        """Return one SAE's recipe."""
        return Recipe(
            architecture=self.families[family].architecture, sparsity=sparsity, expansion=expansion
        )

    def recipes(self) -> list[tuple[str, Recipe]]:
        """Return (family, recipe): every sparsity at one width, every width at one sparsity."""
        found = []
        for name, family in self.families.items():
            found += [
                (name, self.recipe(name, s, self.reference_expansion)) for s in family.sparsity
            ]
            found += [
                (name, self.recipe(name, family.reference, expansion))
                for expansion in family.expansions
                if expansion != self.reference_expansion
            ]
        return found
