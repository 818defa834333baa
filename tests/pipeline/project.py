"""A project at smoke size, as a user has it: a committed tree, a DVC cache, the commands."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import parameter_sets
from universality.present.provenance import read_lock

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PYTHON = str(BIN / "python")
RESULTS = {
    "dvc.lock", "provenance.json", "figures", "metrics", "paper/universality.pdf", "paper/tables",
    "remote",
}  # fmt: skip
PARSED = ".dvc/tmp/parsed"
"""YAML that DVC has parsed; not data, but it saves seconds."""


class Project:
    """A folder to run commands in; `create` fills it."""

    def __init__(self, folder: Path):
        self.folder = folder

    @classmethod
    def create(cls, folder: Path) -> "Project":
        """Make a committed copy of this tree with the smoke parameters and a cache of its own."""
        names = run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], ROOT
        ).stdout
        for name in filter(None, names.split("\0")):
            parents = {name, *map(str, Path(name).parents)}
            if not parents & RESULTS and (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        (folder / "params.yaml").write_text(parameter_sets.text("smoke"))
        share_compiled(folder / "src")
        project = cls(folder)
        project("git", "init", "--quiet")
        project.commit()
        return project

    def clone(self, folder: Path) -> "Project":
        """Return an empty clone: what git has, and none of the cache."""
        run(["git", "clone", "--quiet", str(self.folder), str(folder)], self.folder)
        share_compiled(folder / "src")
        return Project(folder)

    def with_cache(self, folder: Path) -> "Project":
        """Return a clone without data that shares this one's cache."""
        clone = self.clone(folder)
        cache = (self.folder / ".dvc" / "cache").resolve()
        if (local := self.folder / ".dvc" / "config.local").is_file():  # itself such a clone
            shutil.copy(local, folder / ".dvc")
        else:
            (folder / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {cache}\n")
        shutil.copytree(self.folder / PARSED, folder / PARSED)
        return clone

    def copy(self, folder: Path) -> "Project":
        """Return a clone with all data that shares this one's cache: to change at will."""
        copy = self.with_cache(folder)
        copy(PYTHON, "pipeline/quick_dvc.py", "checkout", "--quiet")
        return copy

    def __call__(
        self, *command: str, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return run(list(command), self.folder, check, environment)

    def commit(self) -> None:
        """Commit everything that git sees."""
        self("git", "add", "--all")
        who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        self("git", *who, "commit", "--quiet", "--message", "as it is")

    def push_tables(self) -> list[str]:
        """Put the tables into remote/ and commit them, as maintainers do; returns their paths."""
        tables = self(PYTHON, "pipeline/dag.py", "tables").stdout.split()
        self(PYTHON, "pipeline/quick_dvc.py", "push", *tables)
        self.commit()
        return tables

    @property
    def lock(self) -> dict:
        """The stages of dvc.lock."""
        return read_lock(self.folder)


def share_compiled(folder: Path) -> None:
    """Let the copy of the package in `folder` use the kernels that numba compiles for this one.

    They are a minute of CPU. numba keeps them beside the code and goes by its time and size.
    """
    for ours in (ROOT / "src").rglob("*.py"):
        if "import numba" not in ours.read_text(encoding="utf-8"):
            continue
        theirs = folder / ours.relative_to(ROOT / "src")
        for file in ours.parent.glob("*.py"):
            copy = theirs.with_name(file.name)
            if copy.is_file() and copy.read_bytes() == file.read_bytes():
                shutil.copystat(file, copy)
        compiled = theirs.with_name("__pycache__")
        same = theirs.is_file() and theirs.read_bytes() == ours.read_bytes()
        if same and not compiled.is_symlink():
            shutil.rmtree(compiled, ignore_errors=True)
            ours.with_name("__pycache__").mkdir(exist_ok=True)
            compiled.symlink_to(ours.with_name("__pycache__"))


def environment_of(folder: Path, **more: str) -> dict[str, str]:
    """Return the environment in which commands of the project at `folder` run."""
    return {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "src"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        **more,
    }


def ran(done: subprocess.CompletedProcess[str]) -> set[str]:
    """Return the stages that `dvc repro` ran, but for the one that it always runs."""
    lines = [line for line in done.stdout.splitlines() if "Running stage" in line]
    return {line.split("'")[1] for line in lines} - {"fingerprints"}


def run(
    command: list[str],
    folder: Path,
    check: bool = True,
    environment: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `command` in `folder`; with `check`, a failure fails the test with all it said."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment_of(folder, **(environment or {})),
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode:
        pytest.fail(f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done
