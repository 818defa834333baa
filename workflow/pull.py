"""Get what the remotes have instead of computing it: `python workflow/pull.py [STUDY]`.

With a STUDY, only its tables. Studies have the names of the folders in figures/; several may be
given in one argument, and patterns: 'saes match*'.
"""

import fnmatch
import subprocess
import sys
from pathlib import Path

import dag
import quick_dvc
from universality.errors import InputError


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
    # Checked-out files have arbitrary times: without the touch, Snakemake would run stages again.
    # It touches only what is older than its inputs, and the toy models have none.
    # Pages of features and logs may not be here: no remote of this repository has them.
    touch = ["--touch", "--cores", "1", "--quiet", "all", "--forcerun", "toy_saes"]
    here = [path for path in dag.final_outputs(stages) if Path(path).exists()]
    targets = [f"figures/{name}" for name in names] or here
    return subprocess.run(["snakemake", *targets, *touch], check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(pull(*sys.argv[1:]))
    except InputError as error:
        sys.exit(f"universality: {error}")
