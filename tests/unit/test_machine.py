"""Each stage that can use a GPU has one for itself; with a made-up number of devices."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "pipeline"))

import machine  # noqa: E402  # pyright: ignore[reportMissingImports]

JOB = f"import sys; sys.path.insert(0, {str(ROOT / 'pipeline')!r}); import job"
NOTE = """
import os, sys, time
note = open(sys.argv[1], "a")
print("start", os.environ["CUDA_VISIBLE_DEVICES"], time.monotonic(), file=note, flush=True)
time.sleep(float(sys.argv[2]))
print("end", os.environ["CUDA_VISIBLE_DEVICES"], time.monotonic(), file=note, flush=True)
"""


@pytest.fixture
def devices(tmp_path, monkeypatch):
    """An environment with three devices and a place for locks of its own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv(machine.VARIABLE, "0,1,GPU-2/x")
    return tmp_path


def start(devices, seconds, name="note"):
    command = [sys.executable, "-c", NOTE, str(devices / name), str(seconds)]
    job = f"{JOB}; sys.exit(job.run({name!r}, {command!r}, with_gpu=True))"
    return subprocess.Popen([sys.executable, "-c", job], cwd=devices)


def test_no_device_is_given_to_two_at_once(devices):
    processes = [start(devices, 0.3) for _ in range(9)]
    assert [process.wait() for process in processes] == [0] * 9
    events = sorted(
        ((float(when), what, device) for what, device, when in map(str.split, lines(devices)))
    )
    holding: set[str] = set()
    most = 0
    for _, what, device in events:
        assert (device in holding) == (what == "end")
        holding ^= {device}
        most = max(most, len(holding))
    assert most == 3
    assert {device for _, _, device in events} == {"0", "1", "GPU-2/x"}


def lines(devices):
    return (devices / "note").read_text().splitlines()


def test_who_is_killed_gives_its_device_back(devices, monkeypatch):
    monkeypatch.setenv(machine.VARIABLE, "7")
    first = start(devices, 60)
    while not (devices / "note").exists():
        time.sleep(0.02)
    second = start(devices, 0, "second")
    time.sleep(0.3)
    assert not (devices / "second").exists()
    first.kill()
    first.wait()
    assert second.wait(timeout=20) == 0
    assert "start 7" in (devices / "second").read_text()
    subprocess.run(["pkill", "-f", str(devices / "note")], check=True)


def test_what_is_visible(monkeypatch):
    monkeypatch.setenv(machine.VARIABLE, "2,5")
    assert machine.visible() == ["2", "5"]
    monkeypatch.setenv(machine.VARIABLE, "")
    assert machine.visible() == []
    with machine.one() as device:
        assert device == ""


def test_slurm_hands_out_by_itself(devices, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv(machine.VARIABLE, "0")
    with machine.one() as one, machine.one() as other:  # each job's first device may be called 0
        assert (one, other) == ("0", "0")


def test_cores_from_the_environment(monkeypatch):
    monkeypatch.setenv("UNIVERSALITY_CORES", "3")
    assert machine.n_cores() == 3
    monkeypatch.setenv("UNIVERSALITY_CORES", "many")
    with pytest.raises(machine.InputError, match="'many'"):
        machine.n_cores()


DVC_YAML = """
stages:
  on_gpu:
    foreach: [a, b, c, d]
    do:
      cmd: universality check
      deps:
        - from_${item}
      meta: {device: cuda}
  on_cpu:
    cmd: universality check
"""


JOBS = """
stages:
  good:
    cmd: universality check
  bad:
    cmd: universality run fetch nothing --sources lacking --out bad
"""


@pytest.mark.parametrize(
    ("stage", "status", "shown"),
    [("good", 0, r"good: \d+ s, "), ("bad", 255, "universality: lacking: cannot be read")],
)
def test_a_job_without_forks_shows_how_long_or_why(tmp_path, stage, status, shown):
    """Where there is no shared server, as on other systems than Linux."""
    (tmp_path / "dvc.yaml").write_text(JOBS)
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (tmp_path / "pipeline").symlink_to(ROOT / "pipeline")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "UNIVERSALITY_FORK": "0"}
    environment["UNIVERSALITY_MODE"] = "exact"
    init = ["dvc", "init", "--no-scm"]
    subprocess.run(init, cwd=tmp_path, env=environment, check=True, capture_output=True)
    job = ["sh", "-c", f"python pipeline/job.py --stage={stage} 0 3>&2 > log 2>&1"]
    done = subprocess.run(job, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert re.search(shown, done.stderr)
    assert re.search(shown, (tmp_path / "log").read_text())


def test_stages_of_a_run_are_placed(devices, tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    for item in "abcd":
        (folder / f"from_{item}").touch()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "UNIVERSALITY_CORES": "4"}
    init = ["dvc", "init", "--no-scm"]
    subprocess.run(init, cwd=folder, env=environment, check=True, capture_output=True)
    quick = [sys.executable, str(ROOT / "pipeline" / "quick_dvc.py"), "repro"]
    done = subprocess.run(quick, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    logs = folder / ".dvc" / "tmp" / "stages"
    last = {log.stem: log.read_text().splitlines()[-1] for log in logs.glob("*.log")}
    assert len(last) == 5
    assert "GPU" not in last.pop("on_cpu")
    assert {line.rsplit("GPU ", 1)[1] for line in last.values()} <= {"0", "1", "GPU-2/x"}
