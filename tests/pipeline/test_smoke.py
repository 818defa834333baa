"""The whole pipeline at smoke size, under both runners, as a user runs it."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
RUNNERS = {
    "dvc": ("python", "workflow/quick_dvc.py", "repro"),
    "snakemake": ("snakemake", "--workflow-profile", "workflow/profiles/local"),
}
RESULTS = {"dvc.lock", "figures", "metrics", "remote"}

pytestmark = pytest.mark.pipeline


class Project:
    """A committed copy of this tree with the smoke parameters and a DVC cache of its own."""

    def __init__(self, folder: Path):
        self.folder = folder

    @classmethod
    def create(cls, folder: Path) -> "Project":
        names = _run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], ROOT
        ).stdout
        for name in filter(None, names.split("\0")):
            if Path(name).parts[0] not in RESULTS and (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        shutil.copy(ROOT / "profiles" / "smoke.yaml", folder / "params.yaml")
        project = cls(folder)
        project("git", "init", "--quiet")
        project.commit()
        return project

    def __call__(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return _run(list(command), self.folder, check)

    def commit(self) -> None:
        self("git", "add", "--all")
        who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        self("git", *who, "commit", "--quiet", "--message", "as it is")

    @property
    def lock(self) -> dict:
        return YAML(typ="safe").load((self.folder / "dvc.lock").read_text())["stages"]


def _run(command: list[str], folder: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "src"),
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if check and done.returncode:
        pytest.fail(f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Both runners, side by side: most of a stage is one thread that imports libraries."""
    projects = {name: Project.create(tmp_path_factory.mktemp(name)) for name in RUNNERS}
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: projects[name](*RUNNERS[name]), projects))
    for project in projects.values():
        project.commit()
    return projects


@pytest.fixture
def by_dvc(runs):
    return runs["dvc"]


@pytest.fixture
def by_snakemake(runs):
    return runs["snakemake"]


def test_results_are_there(by_dvc):
    metrics = json.loads((by_dvc.folder / "metrics" / "matching.json").read_text())
    for pair in ("seed_a_vs_sae_seed", "seed_a_vs_random_a", "seed_a_vs_stories15m"):
        assert any(name.startswith(pair) for name in metrics), pair
    for study in ("models", "saes", "matching", "similarity", "steering"):
        assert json.loads((by_dvc.folder / "metrics" / f"{study}.json").read_text())
        svg = {path.stem for path in (by_dvc.folder / "figures" / study).glob("*.svg")}
        png = {path.stem for path in (by_dvc.folder / "figures" / study).glob("*.png")}
        assert svg == png
        assert svg


def test_nothing_changed_nothing_runs(by_dvc):
    again = by_dvc("dvc", "repro")
    assert "Running stage" not in again.stdout
    assert "up to date" in again.stdout
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
    by_dvc("dvc", "repro", "--single-item", "--force", "metrics")
    assert lock.read_bytes() == quick


def test_dvc_accepts_what_snakemake_ran(by_snakemake):
    assert "Running stage" not in by_snakemake("dvc", "repro").stdout


def test_snakemake_lint_and_report(by_snakemake):
    by_snakemake("snakemake", "--lint")
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


def test_figures_from_cached_tables_alone(by_dvc, tmp_path):
    """`make push`, then `make pull` and `make figures` in an empty clone without models."""
    python = str(BIN / "python")
    tables = by_dvc(python, "workflow/dag.py", "tables").stdout.split()
    by_dvc("dvc", "push", *tables)
    assert by_dvc(python, "workflow/dag.py", "check").stderr == ""
    by_dvc.commit()
    clone = Project(tmp_path / "clone")
    _run(["git", "clone", "--quiet", str(by_dvc.folder), str(clone.folder)], tmp_path)
    clone("dvc", "pull", "--allow-missing")
    touch = ("snakemake", "--touch", "--cores", "1", "--quiet", "all")
    clone(*touch, "--forcerun", "toy_saes")
    dry = clone("snakemake", "--dry-run", "--cores", "1")
    assert "Nothing to be done" in dry.stderr + dry.stdout
    for name in ("figures", "metrics"):
        shutil.rmtree(clone.folder / name)
    clone(python, "workflow/figures.py")
    assert clone("git", "status", "--porcelain").stdout == ""
    assert not any((clone.folder / "data" / "models").glob("*"))


def test_experiment_runs_what_depends_on_the_change(by_dvc):
    done = by_dvc("dvc", "exp", "run", "--name", "more-nulls", "-S", "matching.n_null=3")
    by_dvc("git", "checkout", "--quiet", "--", ".")  # the run leaves its result in the tree
    by_dvc("dvc", "checkout", "--allow-missing")
    ran = {line.split("'")[1] for line in done.stdout.splitlines() if "Running stage" in line}
    stages = {name for name in by_dvc.lock if name.startswith("match@")}
    after = {"metrics", "published"}
    drawn = ("matching", "conditions", "cards", "agreement", "similarity", "maps", "steering")
    after |= {f"plot_{name}" for name in drawn}
    reads_them = ("match_", "compare_", "svcca_audit", "feature_maps", "steer_transfer")
    others = {name for name in by_dvc.lock if name.startswith(reads_them)}
    assert stages <= ran <= stages | others | after
    shown = json.loads(by_dvc("dvc", "exp", "show", "--json").stdout)
    experiments = {
        run["name"]: run["revs"][0]["data"] for rev in shown for run in rev["experiments"] or []
    }
    params = experiments["more-nulls"]["params"]["params.yaml"]["data"]
    assert params["matching"]["n_null"] == 3
    metrics = experiments["more-nulls"]["metrics"]
    assert "metrics/matching.json" in metrics
