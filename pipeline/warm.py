"""Import what most stages import, before they are forked; see quick_dvc.py."""

import gc
import importlib

from universality.cli import settle

settle()  # before the libraries: they read the number of threads from the environment
for library in (
    "pandas",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "scipy.stats",
    "torch",
    "transformer_lens",
    "sae_lens",
):
    importlib.import_module(library)
gc.freeze()
