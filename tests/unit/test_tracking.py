import subprocess
import sys
from pathlib import Path

import pytest

from universality.studies.saes.training.tracking import tracked


def test_off_it_does_nothing(monkeypatch):
    monkeypatch.delenv("UNIVERSALITY_WANDB", raising=False)
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it would fail
    with tracked("sae", {}) as log:
        log({"step": 1, "loss": 2.0})


@pytest.mark.parametrize("asked", [True, False])
def test_asked_for_it_writes_a_run(tmp_path, asked):
    """In its offline mode, which needs neither account nor network."""
    code = (
        "from universality.studies.saes.training.tracking import tracked\n"
        "with tracked('sae', {'k': 3}) as log:\n"
        "    log({'step': 1, 'loss': 2.0})\n"
    )
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "WANDB_MODE": "offline"}
    if asked:
        environment["UNIVERSALITY_WANDB"] = "project"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    runs = list(Path(tmp_path).glob("wandb/offline-run-*/*.wandb"))
    assert len(runs) == asked
    assert all(b"loss" in run.read_bytes() for run in runs)
