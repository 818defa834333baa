"""Parameters of the sparse autoencoders."""

from itertools import product
from typing import Annotated, Literal

from pydantic import Field, model_validator

from universality.core.params.base import Id, Section

Hook = Annotated[
    str, Field(pattern=r"^blocks\.\d+\.[a-z_.]+$", description="TransformerLens hook name")
]


Architecture = Literal["standard", "topk", "batchtopk", "gated", "jumprelu", "matryoshka"]


class Recipe(Section):
    """What one SAE is, apart from where it sits and its seed."""

    architecture: Annotated[Architecture, Field(description="SAELens architecture")]
    sparsity: Annotated[
        float,
        Field(gt=0, description="k (topk, batchtopk, matryoshka: active features per token), "
              "L1 coefficient (standard, gated) or L0 coefficient (jumprelu)"),
    ]  # fmt: skip
    expansion: Annotated[int, Field(ge=1, description="d_sae / d_in")]
    resample: Annotated[
        bool, Field(description="resample dead features as Bricken et al. (standard only)")
    ] = False
    orthogonality: Annotated[
        float, Field(ge=0, description="coefficient of the decoder's squared cosines")
    ] = 0.0

    @model_validator(mode="after")
    def _possible(self) -> "Recipe":
        by_k = self.architecture in ("topk", "batchtopk", "matryoshka")
        if by_k and self.sparsity != int(self.sparsity):
            raise ValueError(f"sparsity is {self.sparsity}, expected a whole k")
        if self.resample and self.architecture != "standard":
            raise ValueError("resample is for the standard architecture")
        return self


class LessText(Section):
    """How much text a slow model reads, in place of what the others read."""

    n_tokens: Annotated[int, Field(ge=100, description="in place of activations.n_tokens")]
    n_evaluated: Annotated[int, Field(ge=2, description="in place of sae_evaluation.n_documents")]
    n_documents: Annotated[int, Field(ge=2, description="in place of features.n_documents")]


class SaeModel(Recipe):
    """Which SAEs a model gets for the other studies: one per hook and SAE seed, trained alike."""

    hooks: Annotated[list[Hook], Field(min_length=1, description="where the SAEs sit")]
    also_cache: Annotated[list[Hook], Field(description="more hooks to cache, for sae_grids")]
    n_samples: Annotated[int, Field(ge=100, description="activations seen, with repetition")]
    seeds: Annotated[list[int], Field(min_length=1, description="one SAE per hook and seed")]
    less_text: Annotated[LessText | None, Field(description="for slow models")] = None

    @property
    def cached(self) -> list[str]:
        """Every hook whose activations are kept."""
        return list(dict.fromkeys([*self.hooks, *self.also_cache]))


class SaeFamily(Section):
    """One line of a grid: SAEs that differ in sparsity, width and seed."""

    architecture: Annotated[Architecture, Field(description="SAELens architecture")]
    sparsity: Annotated[list[float], Field(min_length=1, description="see sae_models")]
    expansion: Annotated[list[int], Field(min_length=1, description="d_sae / d_in")]
    resample: Annotated[bool, Field(description="see sae_models")] = False
    orthogonality: Annotated[float, Field(ge=0, description="see sae_models")] = 0.0


class OwnSteps(Section):
    """What small studies set for their SAEs in place of `sae_training`."""

    batch_size: Annotated[int, Field(ge=8, description="in place of sae_training's")]
    learning_rate: Annotated[float, Field(gt=0, lt=1, description="in place of sae_training's")]
    dead_window: Annotated[int, Field(ge=1, description="in place of sae_training's")]

    def in_place(self, training: "SaeTraining") -> "SaeTraining":
        """Return `training` with these settings in place of its own."""
        return training.model_copy(
            update={key: getattr(self, key) for key in OwnSteps.model_fields}
        )


class SaeGrid(OwnSteps):
    """SAEs that are trained to be compared: every family at every hook, seed, sparsity, width."""

    model: Annotated[Id, Field(description="key of sae_models, whose activations are read")]
    hooks: Annotated[list[Hook], Field(min_length=1, description="where the SAEs sit")]
    n_samples: Annotated[int, Field(ge=100, description="activations seen, with repetition")]
    seeds: Annotated[list[int], Field(min_length=1, description="SAE seeds")]
    families: Annotated[dict[Id, SaeFamily], Field(min_length=1, description="by their names")]

    @model_validator(mode="after")
    def _distinct(self) -> "SaeGrid":
        for name, values in (("hooks", self.hooks), ("seeds", self.seeds)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name} names something twice: {values}")
        return self

    def recipes(self) -> dict[str, tuple[str, Recipe]]:
        """Return id -> (family, recipe), ids such as `topk_16_x8`."""
        found = {}
        for name, family in self.families.items():
            for sparsity, expansion in product(family.sparsity, family.expansion):
                key = f"{name}_{sparsity:g}_x{expansion}".replace(".", "p").replace("-", "m")
                found[key] = name, Recipe(
                    architecture=family.architecture, sparsity=sparsity, expansion=expansion,
                    resample=family.resample, orthogonality=family.orthogonality,
                )  # fmt: skip
        return found


class SaeTraining(Section):
    """Training of every SAE: SAELens' classes, losses and schedules."""

    step: Annotated[
        Literal["sparse", "saelens"],
        Field(description="whose training step: ours, for CPUs, or SAELens' own, slower here"),
    ]
    batch_size: Annotated[int, Field(ge=8, description="activations in a step")]
    learning_rate: Annotated[float, Field(gt=0, lt=1, description="Adam's, before the decay")]
    warmup_fraction: Annotated[float, Field(ge=0, lt=1, description="share of steps warming up")]
    decay_fraction: Annotated[float, Field(ge=0, lt=1, description="share of steps decaying to 0")]
    sparsity_warmup_fraction: Annotated[
        float, Field(ge=0, le=1, description="share of steps over which L1 or L0 loss grows")
    ]
    normalize_activations: Annotated[
        Literal["expected_average_only_in", "none"],
        Field(description="scale inputs to a mean norm of sqrt(d_in), or leave them"),
    ]
    apply_b_dec_to_input: Annotated[
        bool, Field(description="subtract the decoder's bias from the input (pre-encoder bias)")
    ]
    aux_coefficient: Annotated[float, Field(ge=0, description="of the loss that revives features")]
    dead_window: Annotated[
        int, Field(ge=1, description="activations without firing until a feature is called dead")
    ]
    jumprelu_bandwidth: Annotated[
        float, Field(gt=0, description="width of the kernel of the threshold's gradient")
    ]
    jumprelu_threshold: Annotated[float, Field(gt=0, description="JumpReLU's threshold at first")]
    matryoshka_levels: Annotated[
        list[float], Field(min_length=1, description="shares of d_sae, ascending; 1 is added")
    ]
    resample_at: Annotated[
        list[float],
        Field(description="shares of the steps after which dead features are resampled"),
    ]
    resample_samples: Annotated[
        int, Field(ge=8, description="activations that they are drawn from")
    ]
    resample_warmup: Annotated[
        int, Field(ge=1, description="steps from a tenth of the learning rate back to all of it")
    ]
    checkpoint_every: Annotated[int, Field(ge=1, description="steps between two checkpoints")]
    log_every: Annotated[int, Field(ge=1, description="steps between two lines of the log")]


class SaeEvaluation(Section):
    """How SAEs are judged on validation text."""

    n_documents: Annotated[
        int, Field(ge=2, description="validation documents for the cross-entropy")
    ]
    batch_tokens: Annotated[int, Field(ge=64, description="tokens in a forward pass, about")]
    n_bootstrap: Annotated[int, Field(ge=100, description="resamples of documents for intervals")]
    seed: Annotated[int, Field(ge=0, description="of the bootstrap")]


class SaesEvaluation(SaeEvaluation):
    """How the SAEs that other studies use are judged."""

    n_reconstructed: Annotated[
        int,
        Field(ge=2, description="validation documents for the rest: L0, variance, dead features"),
    ]


class SaeGridEvaluation(SaeEvaluation):
    """How the SAEs of a grid are judged and compared."""

    reference: Annotated[
        Id, Field(description="family that the others are compared with at their own L0")
    ]
    matched_l0: Annotated[
        list[int], Field(min_length=1, description="L0 at which families are compared")
    ]
    n_pca: Annotated[int, Field(ge=100, description="activations that the PCA baseline is fit to")]


class Features(Section):
    """Sparse feature activations on the shared evaluation text."""

    n_documents: Annotated[int, Field(ge=2, description="validation documents")]
    batch_tokens: Annotated[int, Field(ge=64, description="tokens in a forward pass, about")]
    mask_special: Annotated[bool, Field(description="leave out BOS, EOS and padding")]
