"""DVC with its waiting taken out: the same files, and nothing half-written."""

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

sys.path.insert(0, str(ROOT / "pipeline"))
import quick_dvc  # noqa: E402  # pyright: ignore[reportMissingImports]

LOCK = "schema: '2.0'\nstages:\n  a:\n    cmd: one\n  b@c:\n    cmd: two\n"


def test_an_entry_is_replaced_in_place():
    changed = quick_dvc.with_entry(LOCK, "  a:\n    cmd: three\n    outs: []\n")
    assert changed == LOCK.replace("cmd: one\n", "cmd: three\n    outs: []\n")
    changed = quick_dvc.with_entry(LOCK, "  b@c:\n    cmd: three\n")
    assert changed == LOCK.replace("two", "three")


def test_a_new_entry_goes_to_the_end():
    assert quick_dvc.with_entry(LOCK, "  b:\n    cmd: x\n") == LOCK + "  b:\n    cmd: x\n"


def test_entries_of_stages_that_are_gone_are_dropped():
    assert quick_dvc.without_gone(LOCK, {"a", "b@c"}) == LOCK
    assert quick_dvc.without_gone(LOCK, {"b@c"}) == LOCK.replace("  a:\n    cmd: one\n", "")
    assert quick_dvc.without_gone(LOCK, {"a"}) == LOCK[: LOCK.index("  b@c:")]


DVC_YAML = """
stages:
  first:
    cmd: echo ${n} > first.txt
    params: [n, text]
    outs: [first.txt]
  second:
    cmd: cat first.txt first.txt > 'second file.txt'
    deps: [first.txt]
    outs: ['second file.txt']
  bad:
    cmd: universality run fetch nothing --sources second --out bad
    deps: ['second file.txt']
    outs: [bad]
"""


def project(folder: Path) -> Path:
    folder.mkdir()
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / "params.yaml").write_text("n: 1\ntext: 'yes'\n")
    dvc(folder, ["dvc"], "init", "--no-scm", "--quiet")
    return folder


def dvc(folder: Path, program: list[str], *arguments: str, check: bool = True):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [*program, *arguments],
        cwd=folder,
        env={**os.environ, "PATH": path},
        check=check,
        capture_output=True,
        text=True,
    )


def test_the_lock_has_the_bytes_that_dvc_writes(tmp_path):
    plain, quick = project(tmp_path / "plain"), project(tmp_path / "quick")
    programs = {plain: ["dvc"], quick: [sys.executable, str(ROOT / "pipeline" / "quick_dvc.py")]}
    for n in (1, 2):  # from nothing, then over what is there
        for folder, program in programs.items():
            (folder / "params.yaml").write_text(f"n: {n}\ntext: 'yes'\n")
            dvc(folder, program, "repro", "second")
        assert (quick / "dvc.lock").read_bytes() == (plain / "dvc.lock").read_bytes()
        assert "second file.txt" in (quick / "dvc.lock").read_text()
    again = dvc(quick, programs[quick], "repro", "second")
    assert "Running" not in again.stdout


def test_a_stage_that_fails_fails_the_run(tmp_path):
    folder = project(tmp_path / "quick")
    program = [sys.executable, str(ROOT / "pipeline" / "quick_dvc.py")]
    done = dvc(folder, program, "repro", check=False)
    assert done.returncode != 0
    assert "universality: second: cannot be read" in done.stderr
    assert "bad:" not in (folder / "dvc.lock").read_text()
    assert "second:" in (folder / "dvc.lock").read_text()


def test_parsed_yaml_is_kept_as_json_where_json_can_hold_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain = {"a": [1, 1.5, "x", None, True], "b": {"c": 1e-3}}
    assert quick_dvc.store("k", plain) == json.dumps(plain)
    assert quick_dvc.stored("k") is None  # this is no DVC project
    quick_dvc.PARSED.parent.mkdir(parents=True)
    for n in range(quick_dvc.N_PARSED + 3):
        quick_dvc.store(f"k{n}", plain)
    assert json.loads(quick_dvc.stored(f"k{n}")) == plain
    assert len(list(quick_dvc.PARSED.iterdir())) == quick_dvc.N_PARSED
    for other in ({1: "number for a key"}, {"day": datetime.date(2020, 1, 1)}, {"x": float("nan")}):
        assert quick_dvc.store("other", other) is other
        assert quick_dvc.stored("other") is None
