"""Parameters of the language models: where each comes from, and how the small ones are trained."""

from typing import Annotated

from pydantic import Field

from universality.core.params.base import Id, Section


class Llama2cModel(Section):
    """A model in llama2.c format, converted to a Hugging Face directory."""

    weights: Annotated[Id, Field(description="artifact (data/sources.yaml) with the weights")]
    tokenizer: Annotated[
        Id, Field(description="artifact with the tokenizer: JSON or tokenizer.bin")
    ]


class GgufModel(Section):
    """A model in GGUF format, dequantised and converted to a Hugging Face directory."""

    file: Annotated[Id, Field(description="artifact (data/sources.yaml) with the GGUF file")]


Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class HubModel(Section):
    """A model of the Hugging Face hub at a pinned revision."""

    repo: Annotated[str, Field(description="owner/name on the hub", pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Annotated[Commit, Field(description="commit hash")]
    tokenizer_revision: Annotated[
        Commit | None, Field(description="commit with the tokenizer, where `revision` has none")
    ] = None
    pytorch_model_sha256: Annotated[
        str | None,
        Field(
            pattern=r"^[0-9a-f]{64}$",
            description="where `revision` has no safetensors: read its pytorch_model.bin, if this "
            "is its SHA-256, by torch's loader of tensors alone, and convert it",
        ),
    ] = None


class SmallModel(Section):
    """Architecture and training of the small Llama-style models that are trained here."""

    vocab_size: Annotated[int, Field(ge=300, le=65536, description="size of their BPE tokenizer")]
    d_model: Annotated[int, Field(ge=8, le=4096, description="width of the residual stream")]
    n_layers: Annotated[int, Field(ge=1, le=64, description="number of blocks")]
    n_heads: Annotated[int, Field(ge=1, le=64, description="attention heads; divides d_model")]
    d_mlp: Annotated[int, Field(ge=8, le=16384, description="MLP hidden size")]
    context: Annotated[int, Field(ge=16, le=4096, description="longest document, tokens")]
    n_tokens: Annotated[int, Field(ge=1000, description="training tokens in all, with repetition")]
    batch_tokens: Annotated[int, Field(ge=64, description="tokens in a batch, about")]
    learning_rate: Annotated[float, Field(gt=0, lt=1, description="peak of the cosine schedule")]
    warmup_fraction: Annotated[float, Field(ge=0, lt=1, description="share of steps warming up")]
    weight_decay: Annotated[float, Field(ge=0, lt=1, description="AdamW's, on matrices")]
    log_every: Annotated[int, Field(ge=1, description="steps between two lines of the log")]
    checkpoints: Annotated[
        list[Annotated[float, Field(gt=0, lt=1)]],
        Field(description="shares of n_tokens after which the model is kept as it is then"),
    ]


class ModelSeed(Section):
    """What differs between two small models: the seed, and nothing else."""

    seed: Annotated[int, Field(ge=0, description="of initial weights and order of documents")]


class ModelEvaluation(Section):
    """How the cross-entropy of the language models is measured."""

    n_documents: Annotated[int, Field(ge=2, description="validation documents per corpus")]
    batch_tokens: Annotated[int, Field(ge=64, description="tokens in a forward pass, about")]
    n_bootstrap: Annotated[int, Field(ge=100, description="resamples of documents for intervals")]
    seed: Annotated[int, Field(ge=0, description="of the bootstrap")]
