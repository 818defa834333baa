"""Training losses on Weights & Biases, for those who ask for it: UNIVERSALITY_WANDB=PROJECT.

An environment variable and no parameter, because it changes no result.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

VARIABLE = "UNIVERSALITY_WANDB"


@contextmanager
def tracked(name: str, settings: dict[str, Any]) -> Iterator[Callable[[dict[str, float]], None]]:
    """Yield a function that sends one line of the log; it does nothing unless asked for."""
    project = os.environ.get(VARIABLE)
    if not project:
        yield lambda _: None
        return
    import wandb

    with wandb.init(project=project, name=name, config=settings, reinit="finish_previous") as run:
        yield lambda row: run.log(row, step=int(row["step"]))
