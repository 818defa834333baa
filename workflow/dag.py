"""The stages of dvc.yaml, resolved: what the Snakefile and the checks know of the pipeline.

This is the only file that uses DVC's internals (`Repo.index.stages`), which are not a public API.

On the command line, `python workflow/dag.py COMMAND`:
- `sync` writes the code dependencies of every stage into dvc.yaml;
- `check` compares dvc.yaml with the code, and dvc.lock with all it was made from; needs no data;
- `tables` lists the outputs of the remote `tables`, the cached tables behind the figures.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo

import schedule

ARTIFACTS = PurePosixPath("data/raw")
FAST_LOG = ".snakemake/fast"
"""The stages that ran in fast mode since the last `dvc commit`."""


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

    @property
    def rule(self) -> str:
        """The name as a Snakemake rule."""
        return self.name.replace("@", "__").replace("-", "_")

    @property
    def params_text(self) -> str:
        """The parameter values in one fixed order: Snakemake re-runs the rule when it changes."""
        return json.dumps(self.params, sort_keys=True)

    @property
    def is_drawn(self) -> bool:
        """Whether git tracks what it makes: figures and metrics."""
        return not all(out.in_cache for out in self.outputs)

    def shell(self, mode: str) -> str:
        """Return the shell command of the rule in `mode` exact or fast; see the Snakefile."""
        if mode == "fast":
            return f"{self.cmd} && echo {self.name} >> {FAST_LOG}"
        # Waiting for the lock matters: without it, some of the parallel stages fail on it.
        return f"python workflow/quick_dvc.py --wait-for-lock repro -q -s {self.name}"


def load_stages(root: Path = Path(".")) -> list[Stage]:
    """Return every stage of the DVC project at `root`, in the order of dvc.yaml."""
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
        name=stage.addressing,
        cmd=stage.cmd,
        deps=tuple(sorted(deps)),
        inputs=tuple(path for dep in sorted(deps) for path in members(dep, all_outputs)),
        outputs=tuple(_output(out) for out in stage.outs),
        params=dict(sorted(params.items())),
        threads=demand(stage)[0],
        mem_mb=demand(stage)[1],
    )


def demand(stage: Any) -> tuple[int, int]:
    """Return the threads and the memory in MB that DVC's `stage` uses: `meta` in dvc.yaml."""
    meta = stage.meta or {}
    return meta.get("threads", 1) * schedule.THREADS, meta.get("mem_mb", 1500)


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
    """Return the outputs that no stage reads."""
    read = {path for stage in stages for path in stage.inputs}
    return [out.path for stage in stages for out in stage.outputs if out.path not in read]


def layout(stages: list[Stage]) -> list[list[str]]:
    """Return all outputs, and the folders that a stage reads as a whole."""
    outputs = [out.path for stage in stages for out in stage.outputs]
    shared = {dep for stage in stages for dep in stage.deps if members(dep, outputs) != [dep]}
    return [outputs, sorted(shared)]


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


def check_params(path: Path = Path("params.yaml")) -> None:
    """Check the parameters before any job runs; Snakemake shows the error as one line."""
    from snakemake.exceptions import WorkflowError

    from universality.errors import InputError
    from universality.params.complete import load_params

    try:
        load_params(path)
    except InputError as error:
        raise WorkflowError(str(error)) from None


def main(arguments: list[str]) -> int:
    """Run one command; see the module's docstring. Returns the exit status."""
    import code_deps
    import lock

    dvc_yaml, source, command = Path("dvc.yaml"), Path("src"), " ".join(arguments)
    if command == "sync":
        code_deps.sync(dvc_yaml, source)
    elif command == "check":
        problems = [*code_deps.problems(dvc_yaml, source), *lock.problems(Path("."), load_stages())]
        sys.stderr.write("".join(f"{problem}\n" for problem in problems))
        return 1 if problems else 0
    elif command == "tables":
        outputs = [out for stage in load_stages() for out in stage.outputs]
        tables = [out.path for out in outputs if out.remote == "tables"]
        sys.stdout.write("".join(f"{path}\n" for path in tables))
    else:
        sys.stderr.write("usage: python workflow/dag.py sync | check | tables\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
