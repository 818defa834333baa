"""Features on demand: models, SAEs and tables are loaded when they are first asked for."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import scipy.sparse as sp

from universality.core.corpora import load_tokenizer
from universality.core.errors import InputError
from universality.core.io import read_sparse, read_table
from universality.core.models import load_bridge
from universality.present.explorer.catalogue import MAKE, Choice, choices, matched
from universality.present.explorer.reading import (
    Corpus,
    Reading,
    checked,
    describe,
    partners_of,
    pieces,
    read_text,
)
from universality.studies.matching.params.matching import Pair
from universality.studies.saes.evaluation import load_sae

WAIT = 60.0
"""Seconds that a text waits for the one before it."""


class BusyError(Exception):
    """Another text takes too long."""


class Explorer:
    """Answers for the clone at `root`; one text at a time, since two would share two cores."""

    def __init__(self, root: Path, pairs: Mapping[str, Pair], wait: float = WAIT) -> None:
        self.root, self.pairs = root, pairs
        self._wait = wait
        self._lock = Lock()
        # Few, as models are large; what was replaced on disk is loaded anew (see `_fresh`).
        self._model = lru_cache(3)(lambda path, _: (load_bridge(path), *load_tokenizer(path)))
        self._sae = lru_cache(8)(lambda path, _: load_sae(path))
        self._corpus = lru_cache(8)(_read_corpus)

    def choices(self) -> dict[str, Choice]:
        """Return what can be asked, by name."""
        return choices(self.root / "data")

    def features(self, text: Any, a: Any, b: Any) -> dict[str, Any]:
        """Return which features of the SAEs named `a` and `b` fire on `text`, as JSON has it.

        Raises InputError for what cannot be answered, BusyError if the lock stays taken.
        """
        text = checked(text)
        known = self.choices()
        if not known:
            raise InputError(f"no model with SAEs in {self.root / 'data'}; {MAKE}")
        sides = {"a": _known(known, a, "a"), "b": _known(known, b, "b")}
        if not self._lock.acquire(timeout=self._wait):
            raise BusyError("another text is still being read; try again in a moment")
        try:
            return self._features(text, sides)
        finally:
            self._lock.release()

    def _features(self, text: str, sides: Mapping[str, Choice]) -> dict[str, Any]:
        corpora = {side: self._known_of(choice) for side, choice in sides.items()}
        counts = [corpus and corpus.n_firing for corpus in corpora.values()]
        tables = self.root / "data" / "tables" / "matching" / "pairs"
        found, why = matched(self.pairs, tables, sides["a"], sides["b"], (counts[0], counts[1]))
        readings = {side: self._read(text, choice) for side, choice in sides.items()}
        answer: dict[str, Any] = {
            "text": text,
            "pair": found.pair if found else None,
            "unmatched": why,
            "checked": None not in corpora.values(),
            "pieces": pieces(text, readings["a"], readings["b"]),
        }
        partners = {"a": found.a if found else None, "b": found.b if found else None}
        for (side, choice), other in zip(sides.items(), "ba", strict=True):
            _, tokenizer, _ = self._loaded(choice)
            answer[side] = {
                "model": choice.model,
                "sae": choice.sae,
                "hook": choice.hook,
                "d_sae": choice.d_sae,
                **describe(
                    readings[side], corpora[side], tokenizer, partners[side],
                    also=partners_of(readings[other], partners[other]),
                ),
            }  # fmt: skip
        return answer

    def _read(self, text: str, choice: Choice) -> Reading:
        path = self.root / "data" / "saes" / choice.model / choice.sae
        bridge, tokenizer, bos = self._loaded(choice)
        sae = _fresh(self._sae, path)
        return read_text(choice.model, bridge, tokenizer, bos, text, choice.hook, sae)

    def _loaded(self, choice: Choice) -> tuple[Any, Any, int]:
        """Return bridge, tokenizer and BOS of the model of `choice`."""
        return _fresh(self._model, self.root / "data" / "models" / choice.model)

    def _known_of(self, choice: Choice) -> Corpus | None:
        """Return the features of `choice` on the evaluation text, if they are there and fit."""
        path = self.root / "data" / "features" / choice.model / f"{choice.sae}.safetensors"
        if not path.is_file():
            return None
        corpus: Corpus = _fresh(self._corpus, path)
        return corpus if corpus.activations.shape[1] == choice.d_sae else None


def _fresh(load: Callable[[Path, int], Any], path: Path) -> Any:
    return load(path, path.stat().st_mtime_ns)


def _read_corpus(path: Path, _: int) -> Corpus:
    token = read_table(path.parent / "tokens.parquet")["token"].to_numpy()
    activations: Any = read_sparse(path)
    fires = activations.indices[activations.data > 0]
    n_firing = np.bincount(fires, minlength=activations.shape[1])
    return Corpus(sp.csc_matrix(activations), token, n_firing)


def _known(known: Mapping[str, Choice], name: Any, side: str) -> Choice:
    if not isinstance(name, str) or name not in known:
        raise InputError(f"{side} is {name!r}; there is: {', '.join(known)}")
    return known[name]
