"""Progress bars: shown on a terminal, silent in logs and CI."""

from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress(items: Iterable[Any] | None = None, **options: Any) -> "tqdm[Any]":
    """Return a tqdm bar over `items` that draws only when stderr is a terminal."""
    return tqdm(items, disable=None, dynamic_ncols=True, **options)
