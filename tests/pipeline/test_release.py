"""A release holds what dvc.lock says and the report, and anyone can check it."""

import hashlib
import json
import shutil
import tarfile

import pytest
from project import PYTHON, Project

import repetitions

pytestmark = pytest.mark.pipeline

RELEASE = (PYTHON, "pipeline/release.py")


@pytest.fixture(scope="module")
def project(finished, tmp_path_factory) -> Project:
    """A clone with all data whose tables lie in its committed remote, as a maintainer has it."""
    project = finished.copy(tmp_path_factory.mktemp("release") / "project")
    project.push_tables()
    return project


def refused(project, *arguments):
    done = project(*RELEASE, *arguments, check=False)
    assert done.returncode != 0
    assert not (project.folder / "dist").exists()
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_what_is_refused(project):
    assert "VERSION is needed" in refused(project)
    assert "VERSION is needed" in refused(project, "../1.0")
    readme = project.folder / "README.md"
    text = readme.read_text()
    readme.write_text("changed")
    assert "git does not have" in refused(project, "1.0.0")
    readme.write_text(text)
    sae = next((project.folder / "data" / "saes").iterdir())
    elsewhere = project.folder.parent / "elsewhere"
    sae.rename(elsewhere)
    assert f"data/saes/{sae.name} is not here" in refused(project, "1.0.0")
    shutil.copytree(elsewhere, sae)
    config = next(sae.rglob("cfg.json"))
    config.write_text(config.read_text() + "\n")
    assert "is not what dvc.lock says" in refused(project, "1.0.0")
    shutil.rmtree(sae)
    elsewhere.rename(sae)


def test_release_and_its_manifest(project, tmp_path):
    done = project(*RELEASE, "1.2.3")
    archive = project.folder / "dist" / "universality-1.2.3.tar.gz"
    sha256, name = done.stdout.split()
    first = archive.read_bytes()
    assert sha256 == hashlib.sha256(first).hexdigest()
    assert name == "dist/universality-1.2.3.tar.gz"
    if repetitions.RELEASE:
        project(*RELEASE, "1.2.3")
        assert archive.read_bytes() == first  # no times, no order of its own
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    found = {
        path.relative_to(tmp_path).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in tmp_path.rglob("*")
        if path.is_file() and path != tmp_path / "manifest.json"
    }
    assert found == manifest["sha256"]
    parts = ("figures/matching/", "metrics/matching.json", "data/saes/", "data/tables/",
             "data/maps/", "data/cards/", "data/dashboards/", "docs/", "report/maps/")  # fmt: skip
    for part in parts:
        assert any(name.startswith(part) for name in found), part
    assert "report/index.html" in found
    assert {"dvc.lock", "params.yaml", "provenance.json"} <= found.keys()
    assert not any(name.startswith(("data/activations", "data/models")) for name in found)
