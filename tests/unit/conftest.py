"""A tiny model with random weights and a tiny corpus, for tests that need no real ones."""

import os
from pathlib import Path
from typing import Any

import pytest

from universality.core.params.models import SmallModel

# As the command line does, before a library starts its threads: see `universality.cli`.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")
# `make test` runs as many processes as there are cores; more threads would wait for each other.
for library in ("OMP", "MKL", "OPENBLAS"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

TEXTS = [
    "Once upon a time, there was a little cat named Tom. Tom liked to play in the sun.",
    "The dog saw a big red ball. It ran and ran until it was very tired.",
    "Lily went to the park with her mom. They saw a duck, a fish and a frog!",
    "Ben was sad. His toy was lost. Then his friend Sam found it, and Ben was happy.",
    "One day, a bird flew over the house. “Hello, bird,” said the girl. The naïve bird sang.",
]


@pytest.fixture(scope="session")
def small() -> SmallModel:
    return SmallModel(
        vocab_size=300, d_model=16, n_layers=2, n_heads=2, d_mlp=24, context=64,
        n_tokens=10000, batch_tokens=256, learning_rate=0.01, warmup_fraction=0.1,
        weight_decay=0.1, log_every=5, checkpoints=[],
    )  # fmt: skip


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, small: SmallModel) -> Path:
    """Hugging Face directory of an untrained model."""
    from universality.core.models import new_model, save_model, train_tokenizer

    path = tmp_path_factory.mktemp("models") / "tiny"
    save_model(new_model(small, seed=0), train_tokenizer(TEXTS, small.vocab_size), path)
    return path


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from universality.core.corpora import write_corpus

    path = tmp_path_factory.mktemp("corpora") / "tiny"
    train = [f"{text} {text.lower()} {index}" for index, text in enumerate(TEXTS * 8)]
    write_corpus(path, {"train": train, "validation": TEXTS}, {"kind": "test"})
    return path


@pytest.fixture
def rng() -> Any:
    """A fresh random generator for each test, always of the same seed."""
    import numpy as np

    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def plain_bridge(tiny_model: Path) -> Any:
    """The tiny model in TransformerLens, as it is; `bridge` is the one with enlarged weights."""
    from universality.core.models import load_bridge

    return load_bridge(tiny_model)


@pytest.fixture(scope="session")
def bridge(tiny_model: Path) -> Any:
    """The tiny model in TransformerLens, its weights enlarged so that its MLPs matter."""
    import torch

    from universality.core.models import load_bridge

    loaded = load_bridge(tiny_model)
    with torch.no_grad():
        for name, weight in loaded.original_model.named_parameters():
            weight *= 30 if "down_proj" in name else 3
    return loaded


@pytest.fixture(scope="session")
def tokens(tiny_corpus: Path, tiny_model: Path) -> Any:
    """The tokens of the tiny corpus' validation split."""
    from universality.core.corpora import load_tokens

    return load_tokens(tiny_corpus, "validation", tiny_model, 64)


@pytest.fixture(scope="session")
def spliced(bridge: Any, tokens: Any) -> Any:
    """The model of `bridge` on `tokens`, to be spliced at either layer."""
    from stand_ins import HOOKS

    from universality.core.splicing import SplicedModel

    return SplicedModel(bridge, tokens, HOOKS, 100)


@pytest.fixture
def outcomes(spliced: Any) -> Any:
    """What splicing at the first layer does to the losses of `spliced`."""
    from stand_ins import HOOKS, intervals

    from universality.core.splicing import Outcomes

    return Outcomes(spliced, HOOKS[0], intervals(spliced.documents))
