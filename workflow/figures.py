"""Redraw the figures and collect the metrics from the tables alone: `python workflow/figures.py`.

The commands are those of dvc.yaml; DVC then records what they made. A stage replaces its outputs
as a whole, and only when it succeeds.
"""

import os
import shlex
import sys
from pathlib import Path

import alone
import forks
import quick_dvc
import schedule
from universality.errors import InputError


def main() -> int:
    """Run every stage whose outputs git tracks; returns the exit status."""
    import dag  # not at the top: a forked stage imports this file again

    quick_dvc.quicken()
    drawn = [stage for stage in dag.load_stages() if stage.is_drawn]
    maker = {out.path: stage.name for stage in drawn for out in stage.outputs}
    needs = {stage.name: {maker[path] for path in stage.inputs if path in maker} for stage in drawn}
    commands = {stage.name: shlex.split(stage.cmd) for stage in drawn}

    def run(name: str) -> None:
        if forks.run(name, commands[name], Path.cwd(), dict(os.environ)) != 0:
            raise RuntimeError(name)

    _, failed = schedule.run(list(commands), needs, run)
    if failed:
        sys.stderr.write(f"failed: {', '.join(failed)}; no other was started after it\n")
        return 1
    return quick_dvc.main(["commit", "--force", "--quiet", *commands])


if __name__ == "__main__":
    try:
        with alone.alone(Path.cwd()):
            sys.exit(main())
    except InputError as error:
        sys.exit(f"universality: {error}")
