"""What a Snakemake job runs: `python pipeline/job.py --stage=STAGE GPUS`.

In mode exact (see `set_mode`, which the Snakefile calls) DVC runs the stage; under `make repro`, in
a process forked from one that has the imports. In mode fast its bare command runs, with a GPU for
itself if GPUS is 1, and leaves a note in .snakemake/fast/; `python pipeline/job.py commit` then
hands the stages with a note to `dvc commit`, which takes what lies there for the truth: only for
after a whole success.
"""

import contextlib
import json
import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import alone
import forks
import machine
from universality.core.io import write_json
from universality.present.provenance import Run, note, read_lock

MADE_FROM = Path(".snakemake", "made_from")
"""Per stage a file with its command and parameters, which the Snakefile writes: `dag.stamp`."""
MODE = "UNIVERSALITY_MODE"
STAGE = "UNIVERSALITY_STAGE"
_TERMINAL = 3
NOTES = Path(".snakemake", "fast")
QUICK = (sys.executable, "pipeline/quick_dvc.py")


def set_mode(mode: str) -> None:
    """Tell the jobs of this Snakemake, exact or fast."""
    os.environ[MODE] = mode


def main(arguments: list[str]) -> int:
    """Run a stage, or `commit`; returns the exit status."""
    if arguments == ["commit"]:
        return commit()
    stage, with_gpu = arguments[0].removeprefix("--stage="), arguments[1]
    if os.environ[MODE] == "exact":
        status, said = _exactly(stage)
        sys.stdout.write(said)
        # Of one that failed all that it said, which is why.
        _show(line for line in said.splitlines() if status or line.startswith(f"{stage}: "))
        return status
    with alone.among_stages(Path()):
        return _fast(stage, with_gpu == "1")


def _show(lines: Iterable[str]) -> None:
    """Write `lines` to the terminal of Snakemake, if there is one: see the Snakefile."""
    with contextlib.suppress(OSError), os.fdopen(_TERMINAL, "w", closefd=False) as terminal:
        terminal.writelines(f"{line}\n" for line in lines)


def _exactly(stage: str) -> tuple[int, str]:
    """Let DVC run the stage; returns its exit status and what it says."""
    if os.environ.get(forks.SHARED):
        os.environ[STAGE] = stage
        return forks.run_beside(stage, exact, Path())
    command = [*QUICK, *_exact(stage)]
    done = subprocess.run(
        command, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return done.returncode, done.stdout


def _exact(stage: str) -> list[str]:
    return ["repro", "-q", "-s", stage]


def exact() -> int:
    """Let DVC in this process run the stage that the environment names; returns its status."""
    import quick_dvc

    return quick_dvc.main(_exact(os.environ[STAGE]))


def _fast(stage: str, with_gpu: bool) -> int:
    command, _ = json.loads((MADE_FROM / f"{stage}.json").read_text(encoding="utf-8"))
    return run(stage, shlex.split(command), with_gpu)


def run(stage: str, command: list[str], with_gpu: bool) -> int:
    """Run `command` and leave a note of it if it succeeds; returns its exit status."""
    with machine.one() if with_gpu else contextlib.nullcontext("") as device:
        environment = {**os.environ, machine.VARIABLE: device}
        status = subprocess.run(command, env=environment, check=False).returncode
    if status == 0:
        use = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = Run.here(use.ru_utime + use.ru_stime, use.ru_maxrss / 1e6, device)
        write_json(NOTES / f"{stage}.json", vars(done))
    return status


def commit() -> int:
    """Record in dvc.lock and provenance.json the stages that have a note; drop the notes."""
    notes = {path.stem: path for path in sorted(NOTES.glob("*.json"))}
    if not notes:
        return 0
    status = subprocess.run([*QUICK, "commit", "-q", "-f", *notes], check=False).returncode
    if status == 0:
        runs = {name: Run(**json.loads(path.read_text())) for name, path in notes.items()}
        note(Path(), read_lock(Path()), runs)
        for path in notes.values():
            path.unlink()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
