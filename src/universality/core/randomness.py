"""Random numbers: always an explicit generator derived from a seed and the names of its use."""

import hashlib

import numpy as np


def derive_seed(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed that depends on `seed` and on every name (stage, model, purpose).

    Two uses with different names get independent streams, so adding one never shifts another.
    """
    digest = hashlib.sha256(repr((seed, *names)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return numpy's generator for `(seed, *names)`; see `derive_seed`."""
    return np.random.default_rng(derive_seed(seed, *names))
