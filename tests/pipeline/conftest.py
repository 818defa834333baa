"""One finished run of the whole pipeline at smoke size, for all tests in this folder."""

import pytest
from filelock import FileLock
from project import PYTHON, Project


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after `make repro`, committed; whichever test process comes first makes it.

    Several processes use it: clone it, use its cache, but leave its files as they are.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base  # xdist: one a process
    folder = shared / "finished"
    with FileLock(shared / "finished.lock"):
        if not (folder / "done").exists():
            project = Project.create(folder / "project")
            project(PYTHON, "workflow/quick_dvc.py", "repro")
            project.commit()
            (folder / "done").touch()
    return Project(folder / "project")
