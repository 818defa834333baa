"""Feature directories of made-up models, and the tables of matching them."""

import numpy as np
import pandas as pd
import scipy.sparse as sp

from universality.core.io import write_sparse, write_table
from universality.studies.matching.files import read_pair
from universality.studies.matching.pair_study import match_pair
from universality.studies.matching.params.matching import (
    ConceptLists,
    Concepts,
    Matching,
    PairFilters,
    Subsets,
)


def random_sparse(rng, n, d, density=0.2, dtype=np.float32):
    values = rng.random((n, d)).astype(dtype)
    return sp.csr_matrix(np.where(rng.random((n, d)) < density, values, 0))


SETTINGS = Matching(
    min_count=3, n_null=3, n_groups=5, memory_mb=64, threshold=0.7, seed=0,
    transport_epsilon=0.05, variants=True,
    filters=PairFilters(
        n_top=3, non_concept=True, shared_token=True, one_per_b=True, min_r=0.1
    ),
    concepts=Concepts(
        min_hits=1, n_random=19, subsets=Subsets(topic_share=0.3, min_positions=20)
    ),
)  # fmt: skip
LISTS = ConceptLists(non_concept=["."], concepts={"one": ["w1", "w3"], "none": ["unknown"]})


def tables_of(a, b, settings=SETTINGS):
    return match_pair("pair", read_pair(a, b, 0, 0), settings, LISTS)


def write_model(path, ends, features, seed=0):
    document = np.repeat(np.arange(20), len(ends)).astype(np.int64)
    tokens = pd.DataFrame({"document": document, "end": np.tile(ends, 20).astype(np.int32)})
    pieces = np.array([f"▁w{end}" for end in ends])
    pieces[-1] = "."
    write_table(path / "tokens.parquet", tokens.assign(piece=np.tile(pieces, 20)))
    for layer, matrix in enumerate(features):
        name = f"l{layer}_mlp_out_seed{seed}.safetensors"
        write_sparse(path / name, matrix)
        bos = sp.csr_matrix(np.eye(1, matrix.shape[1], dtype=np.float32) * 50)
        write_sparse(path / "bos" / name, bos)
