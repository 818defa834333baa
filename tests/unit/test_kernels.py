"""What the compiler may do with the loops that numba compiles."""

import importlib
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher
from numba.core.errors import TypingError

from universality.studies.saes.training import kernels

SOURCE = Path(__file__).parents[2] / "src"
MODULES = [
    ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    for path in sorted(SOURCE.rglob("*.py"))
    if "@numba.njit" in path.read_text(encoding="utf-8")
]
HARMLESS = {"nnan", "nsz"}
EXACT_IN_ANY_ORDER = {"_number_above"}


@pytest.mark.parametrize("module", MODULES)
def test_no_sum_is_in_an_order_of_the_compilers_choice(module):
    """Else a process that compiles gives other last bits than one that loads from the cache."""
    loops = vars(importlib.import_module(module)).values()
    found = {f.__name__: f.targetoptions for f in loops if isinstance(f, Dispatcher)}
    assert found
    for name, options in found.items():
        flags = options.get("fastmath", False)
        assert flags is not True, name
        assert name in EXACT_IN_ANY_ORDER or set(flags or ()) <= HARMLESS, name


@pytest.mark.parametrize("length", [1, 15, 16, 17, 64, 300])
def test_inner_product(length):
    a, b = np.random.default_rng(0).standard_normal((2, length)).astype(np.float32)
    exact = a.astype(np.float64) @ b
    # Sixteen partial sums: the error grows with their length, not with the row's.
    tolerance = (2 + length / 16) * np.finfo(np.float32).eps * np.abs(a * b).sum()
    assert abs(kernels._dot(a, b) - exact) <= tolerance


def test_inner_product_of_rows_that_are_not_contiguous_is_refused():
    a = np.zeros((4, 2), np.float32)
    with pytest.raises(TypingError, match="not contiguous"):
        kernels._dot(a[:, 0], a[:, 0])


def test_square_sum_does_not_depend_on_threads():
    a = np.random.default_rng(0).standard_normal((1001, 37)).astype(np.float32)
    before = numba.get_num_threads()
    try:
        sums = set()
        for n in range(1, before + 1):
            numba.set_num_threads(n)
            sums.add(kernels.square_sum(a))
    finally:
        numba.set_num_threads(before)
    assert len(sums) == 1
