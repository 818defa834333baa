"""What is pinned is taken from the committed remote/, by both runners, unless it is to be other."""

import pytest
from project import PYTHON, Project, ran

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("no_forks")]

TEXT = "sample_corpus@stories"
READER = "train_tokenizer"


@pytest.fixture(scope="module")
def pinned(finished, tmp_path_factory) -> Project:
    """A project whose remote/ is committed, as this repository's is."""
    project = finished.copy(tmp_path_factory.mktemp("pins") / "project")
    assert "data/corpora/stories" in project.push_tables()
    return project


def reproduce(project: Project, runner: str, *more: str):
    return project(PYTHON, "pipeline/run.py", "embedded", runner, READER, *more)


@pytest.mark.parametrize("runner", ["dvc", "snakemake"])
def test_an_empty_clone_takes_the_text_and_makes_the_rest(pinned, tmp_path, runner):
    clone = pinned.clone(tmp_path / "clone")
    done = reproduce(clone, runner)
    stages = clone.folder / ".dvc" / "tmp" / "stages"
    assert {"convert_llama2c@stories15m.log", f"{READER}.log"} <= {x.name for x in stages.iterdir()}
    assert not (stages / f"{TEXT}.log").exists(), done.stderr
    assert clone.lock == pinned.lock
    assert clone("git", "status", "--porcelain").stdout == " M provenance.json\n"


def test_it_is_made_again_on_request_and_with_other_parameters(pinned, tmp_path):
    clone = pinned.with_cache(tmp_path / "clone")
    assert TEXT in ran(reproduce(clone, "dvc", "--from=text"))
    assert clone.lock == pinned.lock
    params = clone.folder / "params.yaml"
    params.write_text(params.read_text().replace("n_tokens: 12000", "n_tokens: 6000", 1))
    assert {TEXT, READER} <= ran(reproduce(clone, "dvc"))
    assert clone.lock[TEXT]["outs"] != pinned.lock[TEXT]["outs"]
    done = clone(PYTHON, "pipeline/run.py", "embedded", "dvc", "--from=models", check=False)
    assert done.stderr == "universality: FROM is 'models'; there are: text\n"
    assert done.returncode == 1


def test_what_the_remote_has_lost_is_made_here(pinned, tmp_path):
    clone = pinned.clone(tmp_path / "clone")
    md5 = pinned.lock[TEXT]["outs"][0]["md5"]
    (clone.folder / "remote" / "files" / "md5" / md5[:2] / md5[2:]).unlink()
    done = reproduce(clone, "dvc")
    assert f"not in any remote, so it is made here: {TEXT}" in done.stderr
    assert TEXT in ran(done)
    assert clone.lock == pinned.lock
