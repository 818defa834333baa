"""The pipeline's jobs on a real Slurm of one node, which scripts/slurm.sh starts."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from project import PYTHON, ROOT, Project, ran, run

sys.path.insert(0, str(ROOT / "pipeline"))

import pull  # pyright: ignore[reportMissingImports]

pytestmark = pytest.mark.pipeline

PROFILE = "pipeline/profiles/slurm"
QUICK = ("--slurm-init-seconds-before-status-checks", "1")
MADE = ("models", "activations")
"""Folders of data/ that two stages in a row make for one model."""


@pytest.fixture(scope="module")
def slurm() -> Iterator[None]:
    """A Slurm with the processors of this machine and four made-up GPUs."""
    lacking = [name for name in ("slurmctld", "slurmd", "munged") if not shutil.which(name)]
    why = f"{', '.join(lacking)} missing: sh scripts/servers.sh install" if lacking else ""
    if os.geteuid() != 0:
        why = "a Slurm of one node needs root"
    if why and os.environ.get("UNIVERSALITY_REQUIRE_SERVERS"):
        pytest.fail(why)
    if why:
        pytest.skip(why)
    run(["sh", "scripts/slurm.sh", "start", "4"], ROOT)
    yield
    run(["sh", "scripts/slurm.sh", "stop"], ROOT)


@pytest.fixture(scope="module")
def project(slurm, finished, tmp_path_factory) -> Project:
    """A clone with all data, as after `make pull`."""
    project = finished.copy(tmp_path_factory.mktemp("slurm") / "project")
    made = [out["path"] for stage in project.lock.values() for out in stage["outs"]]
    pull.date_alike(project.folder / path for path in made)
    return project


def snakemake(project: Project, *arguments: str):
    return project("snakemake", "--workflow-profile", PROFILE, *QUICK, *arguments, check=False)


def cancel_when_running(name: str) -> threading.Thread:
    """Cancel the first job of a rule as soon as it runs."""

    def work() -> None:
        queue = ["squeue", "--noheader", "--states=RUNNING", "--format=%i %k"]
        for _ in range(1200):
            jobs = subprocess.run(queue, capture_output=True, text=True, check=True).stdout
            for line in jobs.splitlines():
                if name in line:
                    subprocess.run(["scancel", line.split()[0]], check=True)
                    return
            time.sleep(0.1)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_without_retries_a_cancelled_job_is_reported_and_leaves_nothing(project):
    lock = (project.folder / "dvc.lock").read_bytes()
    model = project.folder / "data" / "models" / "random_a"
    shutil.rmtree(model)
    cancel_when_running("random_model")
    done = snakemake(project, "--retries", "0", "data/models/random_a")
    assert done.returncode != 0
    assert "status is: 'CANCELLED'" in done.stderr
    assert list(model.parent.glob("*random_a*")) == []
    assert (project.folder / "dvc.lock").read_bytes() == lock
    assert list((project.folder / ".snakemake" / "fast").glob("*")) == []


def test_same_lock_as_dvc_though_a_job_is_cancelled(project, finished):
    """Two stages in a row; the first try of one is cancelled while it runs.

    Between two looks at the queue, Slurm's executor waits ten seconds and more.
    """
    before = (project.folder / "dvc.lock").read_text()
    for folder in MADE:
        shutil.rmtree(project.folder / "data" / folder / "random_a", ignore_errors=True)
    cancelled = cancel_when_running("activations")
    done = snakemake(project, "data/activations/random_a")
    assert done.returncode == 0, done.stderr
    cancelled.join(timeout=1)
    assert "status is: 'CANCELLED'" in done.stderr
    assert len(re.findall(r"submitted with SLURM jobid", done.stderr)) == len(MADE) + 1
    assert project.lock == finished.lock
    assert (project.folder / "dvc.lock").read_text() == before
    assert ran(project("dvc", "repro", "activations@random_a")) == set()
    card = project("universality", "card", "activations@random_a").stdout
    assert re.search(r"when +20\d\d-\d\d-\d\dT.* s of CPU", card)


def test_a_stage_on_a_gpu_asks_slurm_for_one(project):
    """Nothing can compute on a made-up device; the stage says so, after it was placed."""
    params = project.folder / "params.yaml"
    text = params.read_text()
    try:
        params.write_text(text.replace("device: cpu", "device: cuda"))
        done = snakemake(
            project, "--retries", "0", "--config", "mode=fast", "gpus=1",
            "--", "data/activations/random_a",
        )  # fmt: skip
    finally:
        params.write_text(text)
    assert done.returncode != 0
    assert "compute.device is 'cuda', but PyTorch sees no CUDA device here" in done.stderr
    number = re.findall(r"submitted with SLURM jobid (\d+)", done.stderr)[-1]
    shown = subprocess.run(["scontrol", "show", "job", number], capture_output=True, text=True)
    assert "gres/gpu=1" in shown.stdout.replace("gres:gpu:1", "gres/gpu=1")


def test_two_jobs_have_two_devices(slurm, tmp_path):
    code = f'import sys; sys.path.insert(0, "{ROOT}/pipeline"); import job'
    # A job holds its device until both have said theirs: else the second may get the first's.
    both = tmp_path / "both"
    wait = f"for i in $(seq 3000); do [ -e {both} ] && break; sleep .1; done"
    job = f'{PYTHON} -c \'{code}; job.run("x", ["env"], True)\'; {wait}'
    for index in range(2):
        out = str(tmp_path / f"out{index}")
        command = ["sbatch", "--gpus=1", "--mem=100", f"--output={out}", f"--wrap={job}"]
        run(command, tmp_path)
    seen = []
    for index in range(2):
        path = tmp_path / f"out{index}"
        for _ in range(1500):
            found = (
                re.findall(r"^CUDA_VISIBLE_DEVICES=(.*)$", path.read_text(), re.M)
                if path.exists()
                else []
            )
            if found:
                break
            time.sleep(0.1)
        seen += found
    both.touch()
    assert len(seen) == len(set(seen)) == 2
    assert set(seen) <= set("0123")


def test_without_slurm_one_line(finished, tmp_path):
    """`make repro RUNNER=slurm` on a machine that is no login node."""
    bare = tmp_path / "bin"
    bare.mkdir()
    for name in ("python", "git", "sh"):
        found = PYTHON if name == "python" else shutil.which(name)
        assert found
        (bare / name).symlink_to(found)
    done = finished(PYTHON, "pipeline/run.py", "embedded", "slurm", check=False, PATH=str(bare))
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == (
        "universality: RUNNER is 'slurm', but there is no sbatch; run it on a login node"
    )
