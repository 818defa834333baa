import subprocess
import sys
from pathlib import Path

import pytest

REVISION = "0123456789" * 4


def hub_model(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the stage in its own process: the hub's client reads its variables at import."""
    params = tmp_path / "params.yaml"
    params.write_text(f"hub_models:\n  small:\n    repo: a/b\n    revision: '{REVISION}'\n")
    command = [sys.executable, "-c", "from universality.cli import main; main()", "hub-model"]
    command += ["small", "--out", str(tmp_path / "out"), "--params", str(params)]
    environment = {
        "PATH": "",
        "HOME": str(tmp_path),
        "HF_HOME": str(tmp_path / "hf"),
        **environment,
    }
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def cached_on_hub(tmp_path: Path, *names: str) -> None:
    snapshot = tmp_path / "hf" / "hub" / "models--a--b" / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    for name in names:
        (snapshot / name).write_text(name)


def test_hub_model_from_the_local_cache(tmp_path: Path) -> None:
    names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    cached_on_hub(tmp_path, *names)
    for environment in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        done = hub_model(tmp_path, **environment)
        assert done.returncode == 0, done.stderr
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names


@pytest.mark.parametrize(
    ("environment", "reason"),
    [({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE"), ({"HF_ENDPOINT": "http://127.0.0.1:9"}, ":9")],
)
def test_hub_model_out_of_reach(tmp_path: Path, environment: dict[str, str], reason: str) -> None:
    done = hub_model(tmp_path, **environment)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"a/b at {REVISION}: not available" in done.stderr
    assert reason in done.stderr
    assert not (tmp_path / "out").exists()


def test_hub_model_without_safetensors(tmp_path: Path) -> None:
    cached_on_hub(tmp_path, "config.json", "pytorch_model.bin", "tokenizer_config.json")
    done = hub_model(tmp_path, HF_HUB_OFFLINE="1")
    assert done.returncode == 2
    assert "weights as safetensors" in done.stderr
    assert not (tmp_path / "out").exists()
