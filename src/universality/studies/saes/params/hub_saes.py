"""Parameters of the SAEs that others have trained and share on the Hugging Face hub."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from universality.core.params.base import Section
from universality.studies.saes.params.saes import Hook


class HubSae(Section):
    """One SAE of a repository."""

    hook: Annotated[Hook, Field(description="where it sits; what its files say must agree")]
    folder: Annotated[
        str,
        Field(pattern=r"^[\w.-]+(/[\w.-]+)*$", description="its folder in the repository"),
    ]
    norm_scaling_factor: Annotated[
        float | None,
        Field(
            gt=0,
            description="sqrt(d_in) / mean norm of the activations it was trained on, where its "
            "cfg.json says that they were scaled so (SAELens' pretrained_saes.yaml lists it)",
        ),
    ] = None


class HubSaes(Section):
    """SAEs of one model that is in no other way an SAE model, from one repository."""

    format: Annotated[
        Literal["saelens", "sparsify"],
        Field(
            description="saelens: cfg.json and sae_weights.safetensors, of any version; sparsify: "
            "EleutherAI's cfg.json and sae.safetensors, in folders named by module"
        ),
    ]
    repo: Annotated[str, Field(description="owner/name on the hub", pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Annotated[
        str,
        Field(
            pattern=r"^([0-9a-f]{40}|main)$",
            description="commit hash; main, which moves, only where no hash is known: the commit "
            "that it was is then written into each SAE's cfg.json",
        ),
    ]
    saes: Annotated[list[HubSae], Field(min_length=1, description="which of the repository's")]
    seed: Annotated[int, Field(ge=0, description="label: the SAE seed that `pairs` name")]
    centred: Annotated[
        bool,
        Field(
            description="trained on activations without their mean over dimensions, as "
            "TransformerLens' center_writing_weights makes them: the mean is taken out first"
        ),
    ] = False
    n_documents: Annotated[
        int | None, Field(ge=2, description="for slow models, in place of features.n_documents")
    ] = None

    @property
    def hooks(self) -> list[str]:
        """Where the SAEs sit."""
        return [one.hook for one in self.saes]

    @model_validator(mode="after")
    def _distinct(self) -> "HubSaes":
        if len(set(self.hooks)) < len(self.hooks):
            raise ValueError(f"saes name a hook twice: {self.hooks}")
        return self


class SaeHooks(Section):
    """How it is checked that SAEs of the hub sit where they were trained."""

    n_documents: Annotated[int, Field(ge=2, description="validation documents")]
    batch_tokens: Annotated[int, Field(ge=64, description="tokens in a forward pass, about")]
    min_explained_variance: Annotated[
        float, Field(gt=0, lt=1, description="of an SAE at its own hook; below it, nothing goes on")
    ]
    n_bootstrap: Annotated[int, Field(ge=100, description="resamples of documents for intervals")]
    seed: Annotated[int, Field(ge=0, description="of the bootstrap")]
