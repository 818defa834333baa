"""Two finished runs of the whole pipeline at smoke size, one a runner, for all tests here.

Each is made once, by whichever test process comes first, while others that need it wait for it.
They clone it and use its cache, but leave its files as they are.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from project import PYTHON, Project

Factory = pytest.TempPathFactory


def made_once(name: str, factory: Factory, make: Callable[[Path], Project]) -> Project:
    """Return the project that `make` has made in a folder that all test processes share."""
    base = factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base  # xdist: one a process
    folder = shared / name
    with FileLock(shared / f"{name}.lock"):
        if not (folder / "done").exists():
            make(folder / "project").commit()
            (folder / "done").touch()
    return Project(folder / "project")


def by_runner(runner: str) -> Callable[[Path], Project]:
    """Return a function that runs everything as `make repro RUNNER=...` does."""

    def make(folder: Path) -> Project:
        project = Project.create(folder)
        project(PYTHON, "pipeline/run.py", "embedded", runner)
        return project

    return make


@pytest.fixture
def no_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stage a process of its own, as on other systems than Linux: quicker for a few."""
    monkeypatch.setenv("UNIVERSALITY_FORK", "0")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: Factory) -> Project:
    """The project after `make repro`, committed."""
    return made_once("finished", tmp_path_factory, by_runner("dvc"))


@pytest.fixture(scope="session")
def finished_by_snakemake(tmp_path_factory: Factory) -> Project:
    """The project after `make repro RUNNER=snakemake`, committed."""
    return made_once("snakemake", tmp_path_factory, by_runner("snakemake"))
