"""The whole pipeline at smoke size, under both runners, as a user runs it."""

import json

import pytest
from project import PYTHON, Project, ran

import links
from universality.core.numbers import STUDIES
from universality.present.summaries import read_summaries

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def by_snakemake(finished_by_snakemake: Project) -> Project:
    """The run of Snakemake; only tests of this file use it, one after the other."""
    return finished_by_snakemake


@pytest.fixture(scope="module")
def by_dvc(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return finished.copy(tmp_path_factory.mktemp("dvc") / "project")


def test_results_are_there(by_dvc):
    folder = by_dvc.folder
    numbers = read_summaries(folder / "data" / "tables" / "summaries", STUDIES)
    assert all(numbers[study] for study in STUDIES)
    for pair in ("seed_a_vs_sae_seed", "seed_a_vs_random_a", "seed_a_vs_stories15m"):
        assert any(name.startswith(pair) for name in numbers["matching"]), pair
    for study in STUDIES:
        tracked = json.loads((folder / "metrics" / f"{study}.json").read_text())
        for name, values in tracked.items():
            assert values.items() <= numbers[study][name].items()
        assert any((folder / "figures" / study).glob("*.svg"))
    shown = json.loads((folder / "metrics" / "overview" / "summary.json").read_text())
    assert shown["matching"]["seed_a_vs_sae_seed"]
    assert (folder / "paper" / "universality.pdf").read_bytes().startswith(b"%PDF")


def test_report_of_the_run(by_dvc):
    """With the pages of features, which only a run and a release have."""
    assert by_dvc(PYTHON, "pipeline/report.py").stdout == "report/index.html\n"
    report = by_dvc.folder / "report"
    links.assert_lead_somewhere(report)
    index = (report / "index.html").read_text()
    for folder in ("maps", "cards", "dashboards"):
        made = sorted(path.name for path in (by_dvc.folder / "data" / folder).iterdir())
        assert made
        for name in made:
            assert f'href="{folder}/{name}/index.html"' in index
    assert by_dvc("git", "status", "--porcelain").stdout == ""


def test_nothing_changed_nothing_runs(by_dvc):
    again = by_dvc("dvc", "repro")
    assert ran(again) == set()
    assert by_dvc("git", "status", "--porcelain").stdout == ""


def test_both_runners_write_the_same_lock(by_dvc, by_snakemake):
    """Same commands, parameters and hashes of every output; only the order may differ."""
    a, b = by_dvc.lock, by_snakemake.lock
    # Said stage by stage: a diff of two whole locks drowns the one line that matters.
    assert a.keys() == b.keys()
    assert [_difference(by_dvc, by_snakemake, name) for name in a if a[name] != b[name]] == []
    again = by_snakemake("snakemake", "--cores", "2")
    assert "Nothing to be done" in again.stderr + again.stdout


def _difference(one: Project, other: Project, stage: str) -> str:
    """Say where two projects' results of a stage differ: parts of the lock, then files."""
    a, b = one.lock[stage], other.lock[stage]
    parts = [key for key in a.keys() | b.keys() if a.get(key) != b.get(key)]
    outputs = [one.folder / out["path"] for out in a["outs"]]
    files = [
        file.relative_to(one.folder)
        for path in outputs
        for file in ([path] if path.is_file() else sorted(path.rglob("*")))
        if file.is_file() and file.name != ".snakemake_timestamp"
    ]
    unequal = [
        file.as_posix()
        for file in files
        if not (other.folder / file).is_file()
        or (one.folder / file).read_bytes() != (other.folder / file).read_bytes()
    ]
    return f"{stage}: {sorted(parts)} differ; files: {unequal}"


def test_plain_dvc_writes_the_same_bytes(by_dvc):
    """`make repro` changes how DVC writes dvc.lock, not what it writes."""
    lock = by_dvc.folder / "dvc.lock"
    quick = lock.read_bytes()
    by_dvc("dvc", "repro", "--single-item", "--force", "summaries")
    assert lock.read_bytes() == quick


def test_dvc_accepts_what_snakemake_ran(by_snakemake):
    assert ran(by_snakemake(PYTHON, "pipeline/quick_dvc.py", "repro")) == set()


def test_report_of_snakemake(by_snakemake):
    by_snakemake("snakemake", "--report", "report.html")
    report = (by_snakemake.folder / "report.html").read_text()
    assert "plot_matching" in report


def test_bad_parameters_stop_snakemake_before_any_job(by_snakemake):
    params = by_snakemake.folder / "params.yaml"
    text = params.read_text()
    try:
        params.write_text(text.replace("n_null: 2", "n_nul: 2"))
        done = by_snakemake("snakemake", "--cores", "1", check=False)
    finally:
        params.write_text(text)
    assert done.returncode != 0
    assert "n_nul" in done.stderr
    assert "Traceback" not in done.stderr
