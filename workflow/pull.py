"""Get what the remotes have instead of computing it: `python workflow/pull.py [STUDY]`.

With a STUDY, only its tables. Studies have the names of the folders in figures/; several may be
given in one argument, and patterns: 'maps match*'.
"""

import fnmatch
import subprocess
import sys

import dag
import quick_dvc
from universality.errors import InputError


def pull(wanted: str = "") -> int:
    """Pull the studies `wanted`, or everything; returns the exit status."""
    quick_dvc.quicken()
    studies = dag.studies(dag.load_stages()) if wanted else {}
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
    touch = ["--touch", "--cores", "1", "--quiet", "all", "--forcerun", "toy_saes"]
    figures = [f"figures/{name}" for name in names]
    return subprocess.run(["snakemake", *figures, *touch], check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(pull(*sys.argv[1:]))
    except InputError as error:
        sys.exit(f"universality: {error}")
