"""Import what most stages import, before they are forked; see quick_dvc.py."""

import gc

from universality.cli import settle

settle()  # before the libraries: they read the number of threads from the environment

import pandas
import pyarrow.dataset
import pyarrow.parquet
import sae_lens
import scipy.stats
import torch
import transformer_lens

gc.freeze()
