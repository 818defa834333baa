"""Redraw the figures and sum up the numbers from the tables alone: `python pipeline/figures.py`.

The commands are those of dvc.yaml; DVC then records what they made. A stage replaces its outputs
as a whole, and only when it succeeds.

With a format, `python pipeline/figures.py pdf` (or png), only the figures are drawn, into
figures-pdf/, which git does not track; figures/ and dvc.lock stay as they are. With a study as
well, `python pipeline/figures.py pdf matching`, only its figures.
"""

import os
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from graphlib import TopologicalSorter
from pathlib import Path

import alone
import forks
import machine
import quick_dvc
from universality.core.errors import InputError

FORMATS = ("pdf", "png")
FIGURES = "figures"


def main(file_format: str = "", study: str = "") -> int:
    """Draw; returns the exit status."""
    import dag  # not at the top: a forked stage imports this file again

    if file_format and file_format not in FORMATS:
        raise InputError(f"FORMAT is {file_format!r}; there are: {', '.join(FORMATS)}")
    if study and not file_format:
        raise InputError("STUDY needs a FORMAT: make figures FORMAT=pdf STUDY=matching")
    quick_dvc.quicken()
    drawn = [stage for stage in dag.load_stages() if stage.is_drawn]
    if file_format:
        commands = in_format({stage.name: stage.cmd for stage in drawn}, file_format, study)
        return _run(commands, {name: set() for name in commands})
    maker = {out.path: stage.name for stage in drawn for out in stage.outputs}
    needs = {stage.name: {maker[path] for path in stage.inputs if path in maker} for stage in drawn}
    commands = {stage.name: shlex.split(stage.cmd) for stage in drawn}
    return _run(commands, needs) or quick_dvc.main(["commit", "--force", "--quiet", *commands])


def in_format(commands: dict[str, str], file_format: str, study: str = "") -> dict[str, list[str]]:
    """Return the commands that draw figures, changed to write another format elsewhere.

    Those of all studies, or of one; its name is that of its folder in figures/.
    """
    changed: dict[str, list[str]] = {}
    studies = set()
    for name, command in commands.items():
        words = shlex.split(command)
        out = words.index("--out") + 1 if "--out" in words else 0
        folder, _, name_of_study = words[out].partition("/")
        if out and folder == FIGURES:
            studies.add(name_of_study)
            if study not in ("", name_of_study):
                continue
            words[out] = words[out].replace(FIGURES, f"{FIGURES}-{file_format}", 1)
            changed[name] = [*words, "--format", file_format]
    if not changed:
        raise InputError(f"STUDY is {study!r}; there are: {', '.join(sorted(studies))}")
    return changed


def _run(commands: dict[str, list[str]], needs: dict[str, set[str]]) -> int:
    def run(name: str) -> int:
        return forks.run(name, commands[name], Path.cwd(), dict(os.environ))

    order = TopologicalSorter(needs)
    order.prepare()
    with ThreadPoolExecutor(machine.n_cores()) as pool:
        while order.is_active():
            ready = order.get_ready()
            statuses = dict(zip(ready, pool.map(run, ready), strict=True))
            if failed := [name for name, status in statuses.items() if status]:
                sys.stderr.write(f"failed: {', '.join(failed)}; no other was started after it\n")
                return 1
            order.done(*ready)
    return 0


if __name__ == "__main__":
    try:
        with alone.alone(Path.cwd()):
            sys.exit(main(*sys.argv[1:]))
    except InputError as error:
        sys.exit(f"universality: {error}")
