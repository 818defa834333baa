"""Run the pipeline with one profile: `python pipeline/run.py PROFILE RUNNER [TARGET ...]`.

With `--from=KIND`, what is pinned of that kind is made again first: see pins.py. Targets are the
runner's: stages for DVC, files or rules for Snakemake; without, it is everything.
`embedded` is params.yaml itself and runs in place. Any other profile runs in runs/PROFILE, a copy
of the source tree with the parameters of profiles/PROFILE.yaml as its params.yaml, so that the
committed parameters, dvc.lock, metrics and figures stay as they are. A profile says only what
differs from params.yaml: see overlays.py. The copy shares the DVC cache, and a later run updates it
and continues.
"""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import alone
import forks
import machine
import quick_dvc
from universality.core.errors import InputError
from universality.core.io import write_text

ROOT = Path(__file__).resolve().parent.parent
RUNNERS: dict[str, Callable[[list[str], int], int]] = {
    "snakemake": lambda targets, held: _local(held, targets),
    "slurm": lambda targets, held: _slurm(held, targets),
    "dvc": lambda targets, _: quick_dvc.main(["repro", *targets]),
}
FROM = "--from="
# Results, and what only the clone itself needs: a copy makes its own or does without.
RESULTS = {
    "dvc.lock", "provenance.json", "metrics", "figures", "paper/universality.pdf", "paper/tables",
}  # fmt: skip
LEFT_OUT = RESULTS | {"params.yaml", "remote", "tests", "runs", ".ci"}
REPLACED = ("src", "pipeline")
"""Folders that a copy gets anew, so that a file removed here is removed there."""


def run(profile: str, runner: str, *arguments: str) -> int:
    """Run `profile` and say where the results are; returns the runner's exit status."""
    again = "".join(word.removeprefix(FROM) for word in arguments if word.startswith(FROM))
    targets = [word for word in arguments if not word.startswith(FROM)]
    if runner not in RUNNERS:
        raise InputError(f"RUNNER is {runner!r}; there are: {', '.join(RUNNERS)}")
    file = None if profile == "embedded" else profile_file(profile)
    folder = ROOT / "runs" / profile if file else ROOT
    with alone.alone(folder) as held:
        if file:
            copy_tree(file, folder)
        status = _run(folder, RUNNERS[runner], targets, held, again)
    if status == 0 and not file and not targets:
        _say_whether_reproduced()
    if status == 0 and file:
        where = folder.relative_to(ROOT)
        sys.stderr.write(f"Profile {profile}: see {where}/figures and {where}/metrics\n")
    return status


def _say_whether_reproduced() -> None:
    import reproduction

    try:
        sys.stderr.write(reproduction.report(ROOT))
    except InputError as error:  # a first run, of which nothing is committed yet
        sys.stderr.write(f"not compared with what is committed: {error}\n")


def _run(
    folder: Path,
    runner: Callable[[list[str], int], int],
    targets: list[str],
    held: int,
    again: str,
) -> int:
    import dag  # not at the top: a forked stage imports this file again
    import lock
    import pins
    from universality.params import load_params

    load_params(folder / "params.yaml")
    os.chdir(folder)
    quick_dvc.quicken()
    lock.require_readable()
    layout = _layout()
    for file in dag.strays(folder, layout["outputs"], layout["shared"]):
        sys.stderr.write(f"removing {file.relative_to(ROOT)}: no stage makes it any more\n")
        file.unlink()
    # The copy runs its own code, not that of the clone, which is the one installed.
    paths = [str(folder / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    pinned, by_time = layout["pinned"], runner is not RUNNERS["dvc"]
    status = pins.make_again(pinned, again) if again else pins.take(pinned, by_time)
    status = status or runner(targets, held)
    if status == 0 and not targets:
        _forget_gone(layout["names"])
    return status


def _forget_gone(names: list[str]) -> None:
    """Drop the entries of stages that are no more, which DVC keeps for ever."""
    path = Path("dvc.lock")
    before = path.read_text(encoding="utf-8")
    after = quick_dvc.without_gone(before, set(names))
    if after != before:
        write_text(path, after)


def _snakemake(held: int, profile: str, *arguments: str) -> int:
    command = ["snakemake", "--workflow-profile", f"pipeline/profiles/{profile}", *arguments]
    with forks.shared() if profile == "local" else contextlib.nullcontext({}) as more:
        environment = {**os.environ, **more}
        # It inherits the lock: should it outlive this process, its run is still at work.
        done = subprocess.run(command, env=environment, check=False, pass_fds=[held])
    if done.returncode:
        sys.stderr.write(f"not everything was made; why is above, or in {forks.LOGS}\n")
    return done.returncode


def _local(held: int, targets: list[str]) -> int:
    cores, memory = machine.n_cores(), machine.memory_mb()
    resources = (f"gpu={len(machine.visible())}", f"mem_mb={memory}")
    room = ("--cores", str(cores), "--resources", *resources, "--config", f"memory_mb={memory}")
    return _snakemake(held, "local", *room, "--", *targets)


def _slurm(held: int, targets: list[str]) -> int:
    if not shutil.which("sbatch"):
        raise InputError("RUNNER is 'slurm', but there is no sbatch; run it on a login node")
    return _snakemake(held, "slurm", *targets)


def _layout() -> dict[str, Any]:
    """Return `dag.layout` of the working directory; a second to find out, so it is remembered."""
    import dag

    texts = [Path(name).read_bytes() for name in ("dvc.yaml", "params.yaml")]
    key = hashlib.sha256(b"layout\0" + b"\0".join(texts)).hexdigest()
    found = quick_dvc.stored(key) or quick_dvc.store(key, dag.layout(dag.load_stages()))
    return json.loads(found)


def profile_file(profile: str) -> Path:
    """Return the parameter file of `profile`."""
    path = ROOT / "profiles" / f"{profile}.yaml"
    if not path.is_file():
        known = ", ".join(["embedded", *sorted(p.stem for p in path.parent.glob("*.yaml"))])
        raise InputError(f"PROFILE is {profile!r}; there are: {known}")
    return path


def copy_tree(profile: Path, folder: Path) -> None:
    """Make or update `folder`, the copy that runs with the parameters of `profile`."""
    import overlays

    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in REPLACED:
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in filter(None, names.split("\0")):
        parents = {name, *map(str, Path(name).parents)}
        if parents & LEFT_OUT or not (ROOT / name).is_file():
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)  # with its times, which Snakemake compares
    params, text = folder / "params.yaml", overlays.parameters(profile)
    if not params.is_file() or params.read_text(encoding="utf-8") != text:
        params.write_text(text, encoding="utf-8")
    cache = ROOT / ".dvc" / "cache"
    local = f"[core]\n    no_scm = true\n[cache]\n    dir = {cache}\n"
    (folder / ".dvc" / "config.local").write_text(local, encoding="utf-8")


if __name__ == "__main__":
    try:
        sys.exit(run(*sys.argv[1:]))
    except (InputError, OSError) as error:  # a full or read-only disk
        sys.exit(f"universality: {error}")
