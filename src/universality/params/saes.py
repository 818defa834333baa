"""Parameters of the sparse autoencoders."""

from typing import Annotated, Literal

from pydantic import Field

from universality.params.base import Section

Hook = Annotated[
    str, Field(pattern=r"^blocks\.\d+\.[a-z_.]+$", description="TransformerLens hook name")
]


class SaeModel(Section):
    """Which SAEs a model gets: one per hook and SAE seed, trained alike."""

    hooks: Annotated[list[Hook], Field(min_length=1, description="where the SAEs sit")]
    k: Annotated[int, Field(ge=1, description="active features per token (L0)")]
    n_samples: Annotated[int, Field(ge=100, description="activations seen, with repetition")]
    seeds: Annotated[list[int], Field(min_length=1, description="one SAE per hook and seed")]


class SaeTraining(Section):
    """Training of every SAE, by SAELens' trainer."""

    architecture: Annotated[Literal["topk", "batchtopk"], Field(description="SAELens architecture")]
    expansion: Annotated[int, Field(ge=1, description="d_sae / d_in")]
    batch_size: Annotated[int, Field(ge=8, description="activations in a step")]
    learning_rate: Annotated[float, Field(gt=0, lt=1, description="Adam's, before the decay")]
    warmup_fraction: Annotated[float, Field(ge=0, lt=1, description="share of steps warming up")]
    decay_fraction: Annotated[float, Field(ge=0, lt=1, description="share of steps decaying to 0")]
    aux_coefficient: Annotated[float, Field(ge=0, description="of the loss that revives features")]
    dead_window: Annotated[int, Field(ge=1, description="steps without firing until called dead")]
    checkpoint_every: Annotated[int, Field(ge=1, description="steps between two checkpoints")]
    log_every: Annotated[int, Field(ge=1, description="steps between two lines of the log")]


class SaeEvaluation(Section):
    """How SAEs are judged on validation text."""

    n_documents: Annotated[int, Field(ge=2, description="validation documents")]
    batch_tokens: Annotated[int, Field(ge=64, description="tokens in a forward pass, about")]
    n_bootstrap: Annotated[int, Field(ge=100, description="resamples of documents for intervals")]
    seed: Annotated[int, Field(ge=0, description="of the bootstrap")]


class Features(Section):
    """Sparse feature activations on the shared evaluation text."""

    n_documents: Annotated[int, Field(ge=2, description="validation documents")]
    batch_tokens: Annotated[int, Field(ge=64, description="tokens in a forward pass, about")]
    mask_special: Annotated[bool, Field(description="leave out BOS, EOS and padding")]
