"""Figures drawn again: from cached tables alone, and in another format."""

import shutil

import pytest
from project import PYTHON, Project

from universality.core.numbers import STUDIES

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def by_dvc(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return finished.copy(tmp_path_factory.mktemp("figures") / "project")


def test_figures_in_another_format(by_dvc):
    by_dvc(PYTHON, "pipeline/figures.py", "pdf", "matching")
    drawn = {path.relative_to(by_dvc.folder / "figures").with_suffix("").as_posix()
             for path in (by_dvc.folder / "figures").glob("matching/*.svg")}  # fmt: skip
    folder = by_dvc.folder / "figures-pdf"
    found = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob("*/*.pdf")}
    assert found == drawn
    assert by_dvc("git", "status", "--porcelain").stdout == ""
    shutil.rmtree(folder)


def test_figures_from_cached_tables_alone(by_dvc, tmp_path):
    """`make push`, then `make pull` and `make figures` in an empty clone without models."""
    by_dvc.push_tables()
    assert by_dvc(PYTHON, "pipeline/dag.py", "check").stderr == ""
    clone = by_dvc.clone(tmp_path / "clone")
    clone(PYTHON, "pipeline/pull.py")
    drawn = [*sorted(f"figures/{study}" for study in STUDIES), "paper/tables"]
    dry = clone("snakemake", *drawn, "--dry-run", "--cores", "1")
    assert "Nothing to be done" in dry.stderr + dry.stdout
    for name in ("figures", "metrics"):
        shutil.rmtree(clone.folder / name)
    clone(PYTHON, "pipeline/figures.py")
    assert clone("git", "status", "--porcelain").stdout == ""
    assert not any((clone.folder / "data" / "models").glob("*"))
    assert not any((clone.folder / "data" / "maps").glob("*"))
