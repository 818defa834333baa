"""Redraw the figures and collect the metrics from the tables alone: `python workflow/figures.py`.

The commands are those of dvc.yaml, as many at once as there are cores; DVC then records what they
made. A stage replaces its outputs as a whole, and only when it succeeds.
"""

import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import dag
import quick_dvc


def main() -> int:
    """Run every stage whose outputs git tracks; returns the exit status."""
    quick_dvc.quicken()
    left = [stage for stage in dag.load_stages() if stage.is_drawn]
    names = [stage.name for stage in left]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while left:
            made = {out.path for stage in left for out in stage.outputs}
            ready = [stage for stage in left if not made & set(stage.inputs)]
            failed = [
                stage.name for stage, ok in zip(ready, pool.map(run, ready), strict=True) if not ok
            ]
            if failed:
                sys.stderr.write(f"failed: {', '.join(failed)}; the others are redrawn\n")
                return 1
            left = [stage for stage in left if stage not in ready]
    return quick_dvc.main(["commit", "--force", "--quiet", *names])


def run(stage: dag.Stage) -> bool:
    """Run the stage's command; returns whether it succeeded."""
    sys.stderr.write(f"{stage.name}\n")
    return subprocess.run(shlex.split(stage.cmd), check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
