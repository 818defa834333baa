"""Parameters of the study of hierarchical concepts."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from universality.core.params.base import Id, Section

SynsetName = Annotated[str, Field(pattern=r"^[^ ]+\.[nv]\.\d\d$", description="as mammal.n.01")]


class WordnetWords(Section):
    """A part of speech of WordNet."""

    data: Annotated[Id, Field(description="artifact (data/sources.yaml): its data file")]
    index: Annotated[Id, Field(description="artifact: its index file, which numbers senses")]
    letter: Annotated[Literal["n", "v"], Field(description="of the part of speech, n or v")]


class ConceptGraph(Section):
    """The concepts of a part of speech that a model has enough single tokens for."""

    model: Annotated[Id, Field(description="whose tokenizer; the key is `<model>_<words>`")]
    words: Annotated[Id, Field(description="key of `wordnet`")]
    min_tokens: Annotated[int, Field(ge=2, description="a tested concept has more tokens")]
    min_example_tokens: Annotated[
        int, Field(ge=2, description="one of `polytopes` and `interventions` has more tokens")
    ]
    polytopes: Annotated[
        dict[Id, list[SynsetName]],
        Field(description="categories that are the corners of a simplex; their parent comes first"),
    ]
    interventions: Annotated[
        list[tuple[SynsetName, SynsetName]],
        Field(description="parent and child, whose difference is added to the last residual"),
    ]

    @model_validator(mode="after")
    def _corners(self) -> "ConceptGraph":
        for name, synsets in self.polytopes.items():
            if len(synsets) < 4:
                raise ValueError(f"polytopes.{name} needs a parent and at least 3 categories")
            if len(set(synsets)) < len(synsets):
                raise ValueError(f"polytopes.{name} names a synset twice")
        if self.min_example_tokens > self.min_tokens:
            raise ValueError("min_example_tokens is more than min_tokens")
        return self


class Ablation(Section):
    """A way to estimate concept vectors."""

    estimator: Annotated[
        Literal["lda", "lda_unshrunk", "mean"],
        Field(description="with Ledoit-Wolf shrinkage, without, or the plain mean"),
    ]
    causal: Annotated[bool, Field(description="whitened; otherwise only centred")]


class Nulls(Section):
    """How many times each control is drawn."""

    n_nested: Annotated[
        int, Field(ge=1, description="random tokens of the graph with its nesting and sizes")
    ]
    n_shuffled: Annotated[int, Field(ge=0, description="shuffled unembeddings")]
    n_random_children: Annotated[int, Field(ge=0, description="random parts of the real parents")]


class Intervening(Section):
    """Concept vectors added to the last residual at real prompts."""

    n_documents: Annotated[int, Field(ge=1, description="validation documents, from the first")]
    n_prompts: Annotated[int, Field(ge=2, description="positions of them, at random")]
    strength: Annotated[
        float, Field(gt=0, description="1 adds the whole vector to the final norm's output")
    ]


class Hierarchy(Section):
    """What all studies of concepts share."""

    train_share: Annotated[
        float, Field(gt=0, lt=1, description="of a concept's tokens, where others are held out")
    ]
    min_rest: Annotated[
        int, Field(ge=2, description="tokens of a parent outside its child, to test without it")
    ]
    nulls: Annotated[Nulls, Field(description="beside every claim, by the first ablation")]
    ablations: Annotated[
        list[Ablation], Field(min_length=1, description="the first is the study's own")
    ]
    ablation_nulls: Annotated[Nulls, Field(description="of the other ablations, and of layers")]
    intervening: Annotated[Intervening, Field(description="vectors added at real prompts")]
    n_groups: Annotated[int, Field(ge=3, description="of tokens or concepts, for the jackknife")]
    n_bootstrap: Annotated[int, Field(ge=100, description="resamples of parents, for intervals")]
    n_permutations: Annotated[
        int, Field(ge=199, description="of concepts' names, between models, for a p-value")
    ]
    seed: Annotated[int, Field(ge=0, description="of all that is drawn at random")]

    @model_validator(mode="after")
    def _two(self) -> "Hierarchy":
        if self.nulls.n_nested < 2:
            raise ValueError("nulls.n_nested is below 2: each draw is judged against the others")
        return self


class ConceptLayers(Section):
    """Concepts in the activations of single tokens."""

    graph: Annotated[Id, Field(description="key of `concept_graphs`")]
    roots: Annotated[
        list[SynsetName], Field(min_length=1, description="concepts whose tokens are taken")
    ]
    min_tokens: Annotated[int, Field(ge=2, description="a tested concept has more of them")]
    n_other: Annotated[int, Field(ge=1, description="other tokens, for the covariance")]
    layers: Annotated[
        list[Annotated[int, Field(ge=0)]], Field(min_length=1, description="residual after them")
    ]
    forms: Annotated[
        list[Literal["alone", "in context"]],
        Field(min_length=1, description="of a token: after BOS alone, after beginnings of stories"),
    ]
    n_contexts: Annotated[
        int, Field(ge=1, description="prefixes of stories that each token is put after")
    ]
    context_tokens: Annotated[int, Field(ge=1, description="length of a prefix, BOS included")]
    batch_rows: Annotated[int, Field(ge=1, description="tokens at once")]
    saes: Annotated[
        str,
        Field(pattern=r"^(saes|sae_grids)/[a-z0-9_]+$", description="folder of SAEs in data"),
    ]
    sae_ids: Annotated[list[str], Field(description="SAEs whose features are looked at")]
    n_features: Annotated[int, Field(ge=1, description="most selective features of a concept")]
    l0: Annotated[int, Field(ge=1, description="features that a concept vector is made of")]


class ConceptPair(Section):
    """Two models whose concepts of the same words are compared."""

    a: Annotated[Id, Field(description="model")]
    b: Annotated[Id, Field(description="model")]
    words: Annotated[Id, Field(description="key of `wordnet`; `concept_graphs` has both")]

    @property
    def graphs(self) -> tuple[str, str]:
        """Keys of `concept_graphs`."""
        return f"{self.a}_{self.words}", f"{self.b}_{self.words}"
