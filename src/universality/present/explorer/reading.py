"""Which features of an SAE fire on a text, token by token, and what is known of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from universality.core.alignment import align
from universality.core.contexts import positions
from universality.core.corpora import tokenize
from universality.core.errors import InputError
from universality.core.features import position_table, sparse_features
from universality.core.shared_tokens import top_tokens
from universality.present.explorer.catalogue import Partners
from universality.studies.saes.pages.dashboard_content import token_name

MAX_CHARACTERS = 1000
N_STRONGEST, N_NAMES = 50, 5
"""Of the strongest positions of a feature, the first few different tokens are named."""


@dataclass(frozen=True)
class Reading:
    """A text as one model reads it, without BOS, and the features that fire on it."""

    end: np.ndarray
    """Where each token ends in the text, in characters, `(n,)`."""
    shown: list[str]
    """Text of each token; of the bytes of one character only the last shows it."""
    activations: Any
    """CSR `(n, d_sae)`."""


@dataclass(frozen=True)
class Corpus:
    """Activations of an SAE's features on the evaluation text."""

    activations: Any
    """CSC `(n_rows, d_sae)`."""
    token: np.ndarray
    """Token of every row, `(n_rows,)`."""
    n_firing: np.ndarray
    """Rows on which each feature fires, `(d_sae,)`."""


def checked(text: Any) -> str:
    """Return `text` if it is one that can be read."""
    if not isinstance(text, str):
        raise InputError("the text is missing")
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"the text has {len(text)} characters; at most {MAX_CHARACTERS} are read")
    if not text.strip():
        raise InputError("the text is empty")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError("the text holds half a character (a lone surrogate)")
    return text


def read_text(
    model: str, bridge: Any, tokenizer: Any, bos: int, text: str, hook: str, sae: Any
) -> Reading:
    """Return what `sae`, which sits at `hook` of `model`, makes of each token of `text` but BOS.

    As the stage `features` does it. InputError if the text is longer than the model's context.
    """
    tokens = tokenize([text], [0], tokenizer, bos, 10 * MAX_CHARACTERS)
    n, most = len(tokens.ids), bridge.cfg.n_ctx
    if n > most:
        raise InputError(
            f"{model} reads at most {most} tokens, and the text has {n}, BOS included; shorten it"
        )
    if n == 1:
        raise InputError(f"the text has no token for {model}")
    place, found = sparse_features(bridge, tokens, {"": (hook, sae)}, n, mask_special=True)
    at = positions(position_table(tokens, place, tokenizer), {0: text})
    return Reading(tokens.end[place], at.shown, found[""])


def segments(end_a: np.ndarray, end_b: np.ndarray) -> list[tuple[range, range]]:
    """Return the smallest pieces of the text that both tokenizations cut out, as rows of each.

    `end_a` `(n_a,)` and `end_b` `(n_b,)` are where tokens end. A piece ends where both have a
    token's end; what is left behind the last one is a piece too.
    """
    shared = align(np.zeros_like(end_a), end_a, np.zeros_like(end_b), end_b)
    cuts_a, cuts_b = (
        [0, *(rows + 1).tolist()] for rows in (shared.rows_a, shared.rows_b)
    )  # both increase
    if (cuts_a[-1], cuts_b[-1]) != (len(end_a), len(end_b)):
        cuts_a, cuts_b = [*cuts_a, len(end_a)], [*cuts_b, len(end_b)]
    return [(range(*cuts_a[i : i + 2]), range(*cuts_b[i : i + 2])) for i in range(len(cuts_a) - 1)]


def strongest(activations: Any) -> list[list[tuple[int, float]]]:
    """Return the features that fire on each row of a CSR matrix, the strongest first."""
    rows = []
    for row in range(activations.shape[0]):
        part = slice(*activations.indptr[row : row + 2])
        ids, values = activations.indices[part], activations.data[part]
        order = np.lexsort((ids, -values))
        rows.append([(int(ids[i]), float(values[i])) for i in order if values[i] > 0])
    return rows


def names(corpus: Corpus, features: Sequence[int], tokenizer: Any) -> list[list[str]]:
    """Return the tokens that each of `features` fires on most, the strongest first.

    They are the different ones among its `N_STRONGEST` strongest positions, at most `N_NAMES`.
    """
    tops = top_tokens(corpus.activations[:, list(features)], corpus.token, N_STRONGEST)
    chosen = [
        list(dict.fromkeys(int(token) for token in top if token >= 0))[:N_NAMES] for top in tops
    ]
    named = {token: token_name(tokenizer, token) for token in {t for top in chosen for t in top}}
    return [[named[token] for token in top] for top in chosen]


def describe(
    reading: Reading,
    corpus: Corpus | None,
    tokenizer: Any,
    partners: Partners | None,
    also: Iterable[int] = (),
) -> dict[str, Any]:
    """Return one side of the page: its tokens with what fires on them, and these features.

    The features `also` are described too, whether they fire or not. `highest` of a feature is its
    highest activation, here or on the corpus.
    """
    ids = sorted(firing(reading) | set(also))
    highest = _maxima(reading.activations, ids)
    tokens: list[list[str]] | None = None
    if corpus is not None and ids:
        tokens = names(corpus, ids, tokenizer)
        highest = np.maximum(highest, _maxima(corpus.activations, ids))
    features = {}
    for i, feature in enumerate(ids):
        features[str(feature)] = {
            "highest": float(highest[i]),
            "tokens": None if tokens is None else tokens[i],
            "partner": None if partners is None else _partner(partners, feature),
        }
    rows = [
        {"text": text, "features": row}
        for text, row in zip(reading.shown, strongest(reading.activations), strict=True)
    ]
    return {"tokens": rows, "features": features}


def firing(reading: Reading) -> set[int]:
    """Return the features that fire somewhere in the text."""
    return set(reading.activations.indices[reading.activations.data > 0].tolist())


def partners_of(reading: Reading, partners: Partners | None) -> set[int]:
    """Return the best partners, on the other side, of the features that fire in the text."""
    if partners is None:
        return set()
    return {int(partners.partner[i]) for i in firing(reading)} - {-1}


def _maxima(activations: Any, features: Sequence[int]) -> np.ndarray:
    columns = sp.csc_matrix(activations)[:, list(features)]
    return np.asarray(columns.max(axis=0).todense()).ravel() if features else np.zeros(0)


def _partner(partners: Partners, feature: int) -> dict[str, Any] | None:
    partner = int(partners.partner[feature])
    if partner < 0:
        return None
    null = None if partners.null_r is None else float(partners.null_r[feature])
    return {
        "feature": partner,
        "r": float(partners.r[feature]),
        "null_r": None if null is None or not np.isfinite(null) else null,
        "mutual": bool(partners.mutual[feature]),
    }


def pieces(text: str, a: Reading, b: Reading) -> list[dict[str, Any]]:
    """Return the rows of the table: a piece of `text` and the numbers of its tokens in A and B."""
    rows, begin = [], 0
    cut = segments(a.end, b.end)
    for i, (of_a, of_b) in enumerate(cut):
        ends = [reading.end[part[-1]] for reading, part in ((a, of_a), (b, of_b)) if len(part)]
        end = len(text) if i == len(cut) - 1 else int(max(ends))
        rows.append({"text": text[begin:end], "a": list(of_a), "b": list(of_b)})
        begin = end
    return rows
