"""Experiments as a user makes them: change one thing, and see what moves in every study."""

import json
import time

import pytest
from project import PYTHON, Project, ran

from universality.present.provenance import ancestors

pytestmark = pytest.mark.pipeline

SUMMARY = "metrics/overview/summary.json"
DVC = (PYTHON, "pipeline/quick_dvc.py")
"""Plain `dvc` reads the same YAML again in every process."""
MODEL = "random_a"
"""Fewer stages read its SAEs than those of any other model, but three studies do."""
CHANGE = "dashboards.stories15m_l0.n_logits=4"
"""Of a page that no other stage reads."""


@pytest.fixture(scope="module")
def project(finished, tmp_path_factory) -> Project:
    return finished.copy(tmp_path_factory.mktemp("experiments") / "project")


@pytest.fixture(scope="module")
def sparser(project) -> set[str]:
    """The stages that ran when SAEs of one model got another sparsity."""
    change = ("-S", f"sae_models.{MODEL}.sparsity=12")
    done = project(*DVC, "exp", "run", "--name", "sparser", *change)
    return ran(done)


def test_what_depends_on_the_change_runs_and_nothing_else(project, finished, sparser):
    lock = finished.lock
    reads = {
        name
        for name, entry in lock.items()
        if f"sae_models.{MODEL}" in entry.get("params", {}).get("params.yaml", {})
    }
    after = {name for name in lock if reads & set(ancestors(lock, name))}
    assert {f"train_saes@{MODEL}", "summaries", "overview"} <= sparser
    assert sparser <= reads | after
    for study in ("match@", "compare_spaces@", "plot_matching", "plot_saes"):
        assert any(name.startswith(study) for name in sparser), study


def test_exp_show_has_a_few_numbers_of_every_study(project, sparser):
    shown = json.loads(project(*DVC, "exp", "show", "--json").stdout)
    runs = {
        run["name"]: run["revs"][0]["data"] for rev in shown for run in rev["experiments"] or []
    }
    run = runs["sparser"]
    assert run["params"]["params.yaml"]["data"]["sae_models"][MODEL]["sparsity"] == 12
    assert list(run["metrics"]) == [SUMMARY]
    numbers = run["metrics"][SUMMARY]["data"]
    assert numbers["saes"][MODEL]["l0"] == pytest.approx(12, rel=0.2)
    table = project(*DVC, "exp", "show", "--only-changed", "--csv", "--drop", ".*src.*").stdout
    assert "sparser" in table


def test_the_effect_is_seen_in_every_study_that_has_one(project, sparser):
    found = json.loads(project(*DVC, "metrics", "diff", "HEAD", "sparser", "--json").stdout)
    diff = found["diff"][SUMMARY] if "diff" in found else found[SUMMARY]
    changed = {name.split(".")[0] for name, values in diff.items() if values["diff"]}
    assert {"saes", "matching", "similarity"} <= changed
    assert "models" not in changed  # the models are the same
    table = project(*DVC, "metrics", "diff", "HEAD", "sparser").stdout
    assert f"saes.{MODEL}.explained_variance" in table


def test_the_tracked_numbers_of_one_study(project, sparser):
    """`metrics/<study>.json` has those that claims and findings rest on."""
    file = "metrics/matching.json"
    names = json.loads((project.folder / file).read_text())
    done = project(*DVC, "metrics", "diff", "HEAD", "sparser", "--targets", file, "--all")
    assert names
    assert all(name in done.stdout for name in names)


def test_plots_compare_curves_histograms_and_heat_maps(project, sparser):
    done = project(*DVC, "plots", "diff", "HEAD", "sparser", "--json")
    plots = json.loads(done.stdout)["data"]
    assert len(plots) == 3
    for name, (plot,) in plots.items():
        assert plot["type"] == "vega", name
        content = plot["content"]
        content = json.loads(content) if isinstance(content, str) else content
        rows = content["data"]["values"]
        assert {row["rev"] for row in rows} == {"HEAD", "sparser"}, name
        of = {rev: [row for row in rows if row["rev"] == rev] for rev in ("HEAD", "sparser")}
        plain = {
            rev: [{k: v for k, v in row.items() if k != "rev"} for row in rows]
            for rev, rows in of.items()
        }
        assert plain["HEAD"] != plain["sparser"], name
        assert "<DVC_METRIC_" not in json.dumps(content)


def test_the_files_are_as_they_were_after_going_back(project, sparser):
    project("git", "checkout", "--quiet", "--", ".")
    project(*DVC, "checkout", "--allow-missing", "--quiet")
    assert ran(project(*DVC, "repro")) == set()


def test_a_queue_of_experiments(project, sparser):
    project("git", "checkout", "--quiet", "--", ".")
    project(*DVC, "exp", "run", "--queue", "--name", "fewer", "-S", CHANGE)
    assert "Queued" in project(*DVC, "queue", "status").stdout
    project(*DVC, "queue", "start")
    for _ in range(60):  # each look takes two seconds of CPU
        status = project(*DVC, "queue", "status").stdout
        if "Success" in status:
            break
        assert "Failed" not in status, project("dvc", "queue", "logs", "fewer", check=False).stdout
        time.sleep(10)
    names = project(*DVC, "exp", "list", "--name-only").stdout.split()
    assert {"fewer", "sparser"} <= set(names)
