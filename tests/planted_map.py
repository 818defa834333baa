"""Two made-up models with planted partners, their matching tables, and pages of feature maps."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from universality.core.corpora import write_corpus
from universality.core.io import write_arrays, write_json, write_sparse, write_table
from universality.studies.matching.files import read_pair
from universality.studies.matching.pair_study import match_pair
from universality.studies.matching.params.matching import (
    ConceptLists,
    Concepts,
    Matching,
    PairFilters,
)

ENDS = "</script><script>alert(1)</script>"
WORDS = [" cat", " sun", " <b>", "\n", f" {ENDS}", " &amp;", " dog", " Cat"]
N_DOCUMENTS, LENGTH = 30, 24
D_A, D_B, DEAD = 16, 12, 2
PLANTED = 10
"""Features of A that have a copy in B; A's feature i is B's feature `partner(i)`, and the last of
them, and one more, are the same as A's feature 0, in more noise."""
PAIR = {"a": "one", "b": "two", "a_seed": 0, "b_seed": 1}
MATCHING = Matching(
    min_count=3, n_null=3, n_groups=5, memory_mb=64, threshold=0.7, seed=0,
    transport_epsilon=0.05, variants=False,
    filters=PairFilters(
        n_top=3, non_concept=False, shared_token=True, one_per_b=True, min_r=0.1
    ),
    concepts=Concepts(min_hits=1, n_random=19, subsets=None),
)  # fmt: skip
SECTION = {
    "max_features": 100, "n_neighbors": 5, "min_dist": 0.1, "n_epochs": 30, "layers": "all",
    "n_tokens": 3, "n_top": 2, "n_random": 1, "before": 4, "after": 2, "max_mb": 15, "seed": 0,
}  # fmt: skip


def partner(feature: int) -> int:
    """Return the feature of B that was made from the planted `feature` of A."""
    return (feature * 3 + 1) % (D_B - 1)


def write_world(folder: Path) -> Path:
    """Write corpus, features, SAEs, matching tables and coordinates below `folder`.

    Layer 1 has the same patterns as layer 0 with more noise. Feature 1 of A fires on every cat.
    The last features of A never fire. Coordinates lie on a grid, so that no point hides another.
    """
    rng = np.random.default_rng(0)
    documents = [["Once", *rng.choice(np.array(WORDS), LENGTH - 1)] for _ in range(N_DOCUMENTS)]
    texts = ["".join(words) for words in documents]
    origin = {"sampled_from": "stories <15m>", "seed": 0}
    write_corpus(folder / "corpus", {"train": ["x"], "validation": texts}, origin)
    table = positions(documents)
    base = rng.random((len(table), D_A)) * (rng.random((len(table), D_A)) < 0.12)
    is_cat = np.array([piece.strip(" ").lower() == "cat" for piece in table["piece"]])
    base[:, 1] = is_cat * (0.5 + rng.random(len(table)))
    base[:, D_A - DEAD :] = 0
    for model, seed, d in (("one", 0, D_A), ("two", 1, D_B)):
        path = folder / "features" / model
        write_table(path / "tokens.parquet", table)
        for layer in (0, 1):
            dense = base.copy()
            if model == "two":
                noise = 1 + (0.3 + layer) * (rng.random(base.shape) - 0.5)
                dense = np.zeros((len(table), d))
                for i in range(PLANTED):
                    dense[:, partner(i)] = base[:, i] * noise[:, i]
                rest = sorted(set(range(d)) - {partner(i) for i in range(PLANTED)})
                dense[:, rest] = rng.random((len(table), len(rest))) * (rng.random() < 2)
                dense[:, rest] *= rng.random((len(table), len(rest))) < 0.1
            else:
                # Rivals of feature 0: they have the same nearest one in B.
                dense[:, PLANTED] = base[:, 0] * (0.4 + rng.random(len(table)))
            name = f"l{layer}_mlp_out_seed{seed}"
            matrix = sp.csr_matrix(dense.astype(np.float32))
            write_sparse(path / f"{name}.safetensors", matrix)
            write_sparse(path / "bos" / f"{name}.safetensors", sp.csr_matrix(matrix[:1]))
            sae = folder / "saes" / model / name
            sae.mkdir(parents=True)
            decoder = rng.normal(size=(d, 6)).astype(np.float32)
            arrays = {"W_enc": decoder.T, "W_dec": decoder, "b_enc": np.zeros(d, np.float32)}
            write_arrays(sae / "sae_weights.safetensors", arrays)
    inputs = read_pair(folder / "features/one", folder / "features/two", 0, 1)
    lists = ConceptLists(non_concept=["."], concepts={"cats": ["cat"]})
    for name, found in match_pair("pair", inputs, MATCHING, lists).items():
        write_table(folder / "matches" / f"{name}.parquet", found)
    for file, d, dead, seed in (("one_seed0", D_A, DEAD, 0), ("two_seed1", D_B, 0, 1)):
        write_table(folder / "coordinates" / f"{file}.parquet", _grid(folder, file, d, dead, seed))
    return folder


def positions(documents: list[list[str]]) -> pd.DataFrame:
    """Return the table of positions of documents that are cut into these pieces."""
    rows = []
    for document, pieces in enumerate(documents, 1):
        ends = np.cumsum([len(piece) for piece in pieces])
        for i, (piece, end) in enumerate(zip(pieces, ends, strict=True)):
            rows.append((document, i + 1, end - len(piece), end, len(piece), piece))
    columns = ["document", "position", "start", "end", "token", "piece"]
    return pd.DataFrame(rows, columns=columns)


def _grid(folder: Path, file: str, d: int, dead: int, seed: int) -> pd.DataFrame:
    """Return made coordinates of the features that fire, in rows of four, from below left."""
    from universality.core.io import read_sparse

    tables = []
    for layer in (0, 1):
        name = f"l{layer}_mlp_out_seed{seed}"
        matrix = read_sparse(folder / "features" / file[:3] / f"{name}.safetensors")
        feature = np.arange(d - dead)
        tables.append(
            pd.DataFrame(
                {
                    "feature": feature.astype(np.int32),
                    "count": np.bincount(matrix.indices, minlength=d)[feature].astype(np.int32),
                    "x": (feature % 4 / 3).astype(np.float32),
                    "y": (feature // 4 / 3).astype(np.float32),
                    "n_features": d, "n_firing": d - dead, "layer": layer, "sae": name,
                }
            )
        )  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def write_page(world: Path, out: Path, **changes: Any) -> Path:
    """Run the stage on `world` with `SECTION` changed; returns the page."""
    from universality.studies.spaces.stages.linked_maps import command

    out.mkdir(parents=True, exist_ok=True)
    sections = {"linked_pairs": {"pair": PAIR}, "linked_maps": SECTION | changes}
    write_json(out / "params.yaml", sections)  # JSON is YAML
    features = world / "features"
    command(
        "pair", features / "one", features / "two", world / "matches", world / "coordinates",
        world / "corpus", out / "page", out / "params.yaml",
    )  # fmt: skip
    return out / "page" / "index.html"


def data_of(page: Path) -> dict[str, Any]:
    """Return the data of a page, which only a script of the type of data may hold."""
    found = re.findall(
        r'<script type="application/json" id="data">\n(.*?)\n</script>', page.read_text("utf-8")
    )
    assert len(found) == 1
    return json.loads(found[0])
