"""Where in a text features fire most: what a changed feature is about."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from universality.core.contexts import Positions, example, top_rows


def context_table(
    features: Any, at: Positions, chosen: Iterable[int], n: int, context: int
) -> pd.DataFrame:
    """Return the `n` strongest contexts of each of `chosen`, at most one per document.

    `features` is `(n_rows, d_sae)`, sparse, its rows as `at`. A feature that never fires has none.
    Columns: feature, rank, value, document, position, text; the token is between brackets.
    """
    columns: Any = sp.csc_matrix(features)
    rows = []
    for feature in chosen:
        part = slice(columns.indptr[feature], columns.indptr[feature + 1])
        fires = columns.data[part] > 0
        where, values = columns.indices[part][fires], columns.data[part][fires]
        column = np.zeros(columns.shape[0], dtype=np.float32)
        column[where] = values
        for rank, row in enumerate(top_rows(where, values, at.index, n)):
            found = example(int(row), column, at, context)
            rows.append((feature, rank, found.value, found.document, found.position, _text(found)))
    names = ["feature", "rank", "value", "document", "position", "text"]
    return pd.DataFrame(rows, columns=names)


def _text(found: Any) -> str:
    tokens = [token for token, _ in found.tokens]
    peak = tokens[found.peak]
    space = peak[: len(peak) - len(peak.lstrip())]
    tokens[found.peak] = f"{space}[{peak.lstrip() or space}]"
    before, after = ("…" if cut else "" for cut in found.cut)
    return " ".join(f"{before}{''.join(tokens)}{after}".split())


def all_contexts(
    features: Mapping[str, Any], at: Positions, wanted: pd.DataFrame, n: int, context: int
) -> pd.DataFrame:
    """Return the contexts of the features that `wanted` names by hook and feature."""
    parts = [
        context_table(
            features[str(hook)], at, sorted(part["feature"].unique().tolist()), n, context
        ).assign(hook=hook)
        for hook, part in wanted.groupby("hook", sort=False)
    ]
    return pd.concat(parts, ignore_index=True)
