"""Get what the remotes have instead of computing it: `python pipeline/pull.py [STUDY]`.

With a STUDY, only its tables. Studies have the names of the folders in figures/; several may be
given in one argument, and patterns: 'saes match*'.
"""

import fnmatch
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import dag
import quick_dvc
from universality.core.errors import InputError


def pull(wanted: str = "") -> int:
    """Pull the studies `wanted`, or everything; returns the exit status."""
    quick_dvc.quicken()
    stages = dag.load_stages()
    studies = dag.studies(stages) if wanted else {}
    names: list[str] = []
    for pattern in wanted.split():
        matching = fnmatch.filter(studies, pattern)
        if not matching:
            raise InputError(f"STUDY is {pattern!r}; there are: {', '.join(sorted(studies))}")
        names += matching
    tables = dict.fromkeys(path for name in names for path in studies[name])
    status = quick_dvc.main(["pull", "--allow-missing", *tables])
    if status != 0:
        return status
    date_alike(Path(out.path) for stage in stages for out in stage.outputs)
    return 0


def date_alike(outputs: Iterable[Path]) -> None:
    """Give all files of `outputs` that are here one time, so that none is older than another.

    Checked-out files have arbitrary times, and Snakemake would make again what is older than its
    inputs.
    """
    now = time.time_ns()
    for output in outputs:
        for path in (output, *output.rglob("*")):
            if path.exists():
                os.utime(path, ns=(now, now))


if __name__ == "__main__":
    try:
        sys.exit(pull(*sys.argv[1:]))
    except InputError as error:
        sys.exit(f"universality: {error}")
