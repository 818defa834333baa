"""The stages of dvc.yaml, resolved: what the Snakefile and the checks know of the pipeline.

This is the only file that uses DVC's internals (`Repo.index.stages`), which are not a public API.

On the command line, `python pipeline/dag.py COMMAND`:
- `check` compares dvc.yaml with the code, and dvc.lock with all it was made from; needs no data;
- `tables` lists the outputs of the remote `tables`, the cached tables behind the figures;
- `verify` reads all data again, and removes from the cache what is damaged.
"""

import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo

import job
import lock
import machine
from universality.core import fingerprints
from universality.core.errors import InputError

ARTIFACTS = PurePosixPath("data/raw")


@dataclass(frozen=True)
class Output:
    """A path that a stage writes."""

    path: str
    is_directory: bool
    remote: str | None
    in_cache: bool
    """False for what git tracks: metrics and figures."""


@dataclass(frozen=True)
class Stage:
    """One stage with `foreach` and `matrix` resolved."""

    name: str
    """DVC's, for example `train_model@seed_a`."""
    cmd: str
    deps: tuple[str, ...]
    """Paths as dvc.yaml gives them, sorted."""
    inputs: tuple[str, ...]
    """`deps`, with a directory that holds other stages' outputs replaced by those outputs."""
    outputs: tuple[Output, ...]
    params: dict[str, dict[str, Any]]
    """File -> key -> present value, sorted as in dvc.lock."""
    threads: int
    mem_mb: int
    gpus: int
    """1 if the stage can use a device, else 0."""
    always: bool = False
    """Whether it runs in every run of DVC: the one that reads the code."""
    pinned: str = ""
    """The kind of what is made once and then taken from remote/, for example text: see pins.py."""

    @property
    def rule(self) -> str:
        """The name as a Snakemake rule."""
        return self.name.replace("@", "__").replace("-", "_")

    @property
    def made_from(self) -> str:
        """The command and the parameter values in one fixed order."""
        return json.dumps([self.cmd, self.params], sort_keys=True)

    @property
    def is_drawn(self) -> bool:
        """Whether git tracks what it makes: figures and metrics."""
        return not all(out.in_cache for out in self.outputs)

    @property
    def stamp(self) -> Path:
        """The file that `stamp` writes."""
        return job.MADE_FROM / f"{self.name}.json"


def load_stages(root: Path = Path(".")) -> list[Stage]:
    """Return every stage of the DVC project at `root`, in the order of dvc.yaml."""
    import quick_dvc  # not at the top: it imports this file

    quick_dvc.quicken()
    with Repo(str(root)) as repo:
        resolved = list(repo.index.stages)
        outputs = sorted(out.def_path for stage in resolved for out in stage.outs)
        return [_stage(stage, outputs) for stage in resolved]


def _stage(stage: Any, all_outputs: list[str]) -> Stage:
    params, deps = {}, []
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            values = dep.read_params()
            params[dep.def_path] = {key: values.get(key) for key in sorted(dep.params)}
        else:
            deps.append(dep.def_path)
    return Stage(
        name=stage.name,  # not its address, which names the folder of another project
        cmd=stage.cmd,
        deps=tuple(sorted(deps)),
        inputs=tuple(path for dep in sorted(deps) for path in members(dep, all_outputs)),
        outputs=tuple(_output(out) for out in stage.outs),
        params=dict(sorted(params.items())),
        threads=demand(stage)[0],
        mem_mb=demand(stage)[1],
        gpus=demand(stage)[2],
        always=stage.always_changed,
        pinned=(stage.meta or {}).get("pinned", ""),
    )


def demand(stage: Any) -> tuple[int, int, int]:
    """Return the threads, MB of memory and GPUs that DVC's `stage` uses: `meta` in dvc.yaml."""
    meta = stage.meta or {}
    threads = meta.get("threads", 1) * machine.THREADS
    return threads, meta.get("mem_mb", 1500), int(meta.get("device", "cpu") != "cpu")


def _output(out: Any) -> Output:
    # Known before the output exists: a path without a suffix is a directory, except for fetched
    # artifacts, single files that have ids for names.
    path = PurePosixPath(out.def_path)
    is_directory = not path.suffix and path.parent != ARTIFACTS
    return Output(out.def_path, is_directory, out.remote, out.use_cache)


def members(dep: str, outputs: list[str]) -> list[str]:
    """Return the `outputs` that lie inside the directory `dep`, or `dep` itself if none does."""
    return [path for path in outputs if path.startswith(f"{dep}/")] or [dep]


def final_outputs(stages: list[Stage]) -> list[str]:
    """Return the outputs that no stage reads, but for what reads the code: it is no rule."""
    read = {path for stage in stages for path in stage.inputs}
    made = [out.path for stage in stages if not stage.always for out in stage.outputs]
    return [path for path in made if path not in read]


def priorities(stages: list[Stage], seconds: Mapping[str, float]) -> dict[str, int]:
    """Return stage -> the length of the longest chain of stages that starts with it.

    `seconds` says how long stages took; of those that are ready, the one with the longest way to go
    is to start first.
    """
    readers: dict[str, list[Stage]] = {}
    for stage in stages:
        for path in stage.inputs:
            readers.setdefault(path, []).append(stage)
    way: dict[str, float] = {}

    def length(stage: Stage) -> float:
        if stage.name not in way:
            after = [one for out in stage.outputs for one in readers.get(out.path, [])]
            way[stage.name] = seconds.get(stage.name, 1) + max(map(length, after), default=0)
        return way[stage.name]

    return {stage.name: math.ceil(length(stage)) for stage in stages}


def layout(stages: list[Stage]) -> dict[str, Any]:
    """Return what of the stages a run has to know; JSON can hold it.

    All `outputs`; the folders that a stage reads as a whole (`shared`); the `names` of stages; kind
    -> those that are `pinned`.
    """
    outputs = [out.path for stage in stages for out in stage.outputs]
    shared = {dep for stage in stages for dep in stage.deps if members(dep, outputs) != [dep]}
    pinned: dict[str, list[str]] = {}
    for stage in (stage for stage in stages if stage.pinned):
        pinned.setdefault(stage.pinned, []).append(stage.name)
    return {
        "outputs": outputs,
        "shared": sorted(shared),
        "names": [stage.name for stage in stages],
        "pinned": pinned,
    }


def studies(stages: list[Stage]) -> dict[str, list[str]]:
    """Return the tables of each study; its name is that of its folder in figures/.

    They are all that the makers of what the figures are drawn from keep in the remote `tables`. Of
    a folder that a stage reads as a whole it is all or nothing: with a part, the stage would run.
    """
    known = layout(stages)
    outputs, folders = known["outputs"], known["shared"]
    found = {}
    for plot in stages:
        makers = [stage for stage in stages if any(o.path in plot.inputs for o in stage.outputs)]
        tables = [o.path for maker in makers for o in maker.outputs if o.remote == "tables"]
        whole = [folder for folder in folders if members(folder, tables) != [folder]]
        tables += [path for folder in whole for path in members(folder, outputs)]
        for out in plot.outputs:
            if tables and out.path.startswith("figures/"):
                found[PurePosixPath(out.path).parts[1]] = sorted(set(tables))
    return found


def strays(root: Path, outputs: list[str], shared: list[str]) -> list[Path]:
    """Return files that no stage makes in folders that a stage reads as a whole; see `layout`.

    They are left from earlier parameters, for example the table of a pair that is no more.
    """
    made = {root / path for path in outputs}
    files = (file for folder in shared for file in sorted((root / folder).rglob("*")))
    return [
        file
        for file in dict.fromkeys(files)
        if file.is_file() and made.isdisjoint((file, *file.parents))
    ]


def undeclared(stages: list[Stage], source: Path) -> list[str]:
    """Say, one line each, which stages do not depend on what their command reaches of the code.

    Also which numbers of fingerprints.json are not those of the code.
    """
    found = fingerprints.fingerprints(source)
    problems = []
    for stage in stages:
        words = stage.cmd.split()
        ours = words[:2] == [fingerprints.PACKAGE, "run"]
        key = words[2].replace("-", "_") if ours else " ".join(words[:2])
        declared = stage.params.get(fingerprints.FILE, {})
        if key not in found:
            problems.append(f"dvc.yaml: {stage.name}: the package has no stage {key!r}")
        elif stage.pinned and declared:
            problems.append(f"dvc.yaml: {stage.name}: it is pinned, so it depends on no code")
        elif not (stage.always or stage.pinned) and [*declared] != [key]:
            problems.append(
                f"dvc.yaml: {stage.name}: params lack {fingerprints.FILE}: [{key}], the code that "
                "its command runs"
            )
        elif declared and declared[key] != found[key]:
            problems.append(f"{fingerprints.FILE}: {key} is not that of the code; `make repro`")
        problems += [f"dvc.yaml: {stage.name}: deps list {path}, which its fingerprint covers"
                     for path in stage.deps if path.startswith("src/")]  # fmt: skip
    return list(dict.fromkeys(problems))


def stamp(stages: list[Stage]) -> None:
    """Give each stage a file that is newer than its outputs if its parameters changed since.

    Snakemake itself remembers only the parameters of its own runs, so a change after a run by DVC,
    or in a clone whose data were pulled, would be missed. A file is written when its content
    changes, and dated back if dvc.lock says that the outputs were made so.
    """
    from dvc.utils.serialize import load_yaml

    old = [s for s in stages if not s.stamp.is_file() or s.stamp.read_text() != s.made_from]
    entries = load_yaml("dvc.lock")["stages"] if old and Path("dvc.lock").is_file() else {}
    job.MADE_FROM.mkdir(parents=True, exist_ok=True)
    for stage in old:
        stage.stamp.write_text(stage.made_from, encoding="utf-8")
        entry = entries.get(stage.name, {})
        if (entry.get("cmd"), entry.get("params", {})) == (stage.cmd, stage.params):
            os.utime(stage.stamp, (1, 1))


def check_inputs() -> None:
    """Check parameters and dvc.lock before any job runs; Snakemake shows the error as one line.

    It also brings the fingerprints of the code up to date, from which jobs are derived.
    """
    from snakemake.exceptions import WorkflowError

    import quick_dvc
    from universality.params import load_params

    quick_dvc.quicken()
    try:
        load_params(Path("params.yaml"))
        lock.require_readable()
        fingerprints.write(Path("."))
    except InputError as error:
        raise WorkflowError(str(error)) from None


def main(arguments: list[str]) -> int:
    """Run one command; see the module's docstring. Returns the exit status."""
    import quick_dvc
    import verify

    quick_dvc.quicken()
    lock.require_readable()
    command = " ".join(arguments)
    if command == "check":
        stages = load_stages()
        problems = [*undeclared(stages, Path("src")), *lock.problems(Path("."), stages)]
        sys.stderr.write("".join(f"{problem}\n" for problem in problems))
        return 1 if problems else 0
    if command == "tables":
        outputs = [out for stage in load_stages() for out in stage.outputs]
        tables = [out.path for out in outputs if out.remote == "tables"]
        sys.stdout.write("".join(f"{path}\n" for path in tables))
    elif command == "verify":
        with Repo(".") as repo:
            hashes = {
                out.def_path: str(out.hash_info.value)
                for stage in repo.index.stages
                for out in stage.outs
                if out.hash_info
            }
            damage = list(verify.repair(Path("."), Path(repo.cache.local.path), hashes))
        sys.stderr.write("".join(f"{line}\n" for line in damage))
        sys.stderr.write(f"{len(hashes)} outputs read; damaged files: {len(damage)}\n")
        return 1 if damage else 0
    else:
        sys.stderr.write("usage: python pipeline/dag.py check | tables | verify\n")
        return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except InputError as error:
        sys.exit(f"universality: {error}")
