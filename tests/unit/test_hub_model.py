import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file

from universality.core.errors import InputError
from universality.core.params.models import HubModel
from universality.sources.hub import copy_model

REVISION, OTHER = "0123456789" * 4, "ab" * 20
SAFE = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


def hub_model(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the stage in its own process: the hub's client reads its variables at import."""
    params = tmp_path / "params.yaml"
    params.write_text(f"hub_models:\n  small:\n    repo: a/b\n    revision: '{REVISION}'\n")
    command = [sys.executable, "-c", "from universality.cli import main; main()", "run"]
    command += ["hub-model", "small", "--out", str(tmp_path / "out"), "--params", str(params)]
    environment = {
        "PATH": "",
        "HOME": str(tmp_path),
        "HF_HOME": str(tmp_path / "hf"),
        **environment,
    }
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def cached_on_hub(tmp_path: Path, *names: str, revision: str = REVISION) -> Path:
    snapshot = tmp_path / "hf" / "hub" / "models--a--b" / "snapshots" / revision
    snapshot.mkdir(parents=True)
    for name in names:
        (snapshot / name).write_text(name)
    return snapshot


def test_hub_model_from_the_local_cache(tmp_path: Path) -> None:
    # Others that use the cache may have put more there.
    cached_on_hub(tmp_path, *SAFE, "pytorch_model.bin", "README.md", "code.py")
    for environment in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        done = hub_model(tmp_path, **environment)
        assert done.returncode == 0, done.stderr
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == SAFE


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


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def model(**changes: str) -> HubModel:
    return HubModel.model_validate({"repo": "a/b", "revision": REVISION} | changes)


@pytest.mark.usefixtures("offline")
def test_tokenizer_of_another_revision(tmp_path: Path) -> None:
    cached_on_hub(tmp_path, "config.json", "model.safetensors")
    with pytest.raises(InputError, match="tokenizer_revision names another commit"):
        copy_model(model(), tmp_path / "out")
    with pytest.raises(InputError, match=f"a/b at {OTHER}: not available"):
        copy_model(model(tokenizer_revision=OTHER), tmp_path / "out")
    other = cached_on_hub(tmp_path, *SAFE[2:], "pytorch_model.bin", revision=OTHER)
    (other / "config.json").write_text("of the other revision")
    copy_model(model(tokenizer_revision=OTHER), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == SAFE
    assert (tmp_path / "out" / "config.json").read_text() == "config.json"


def pytorch_file(tmp_path: Path, content: bytes) -> str:
    """Cache a model with this `pytorch_model.bin`; return its SHA-256."""
    snapshot = cached_on_hub(tmp_path, "config.json", *SAFE[2:])
    (snapshot / "pytorch_model.bin").write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.mark.usefixtures("offline")
def test_pytorch_file_is_converted_where_its_hash_is_named(tmp_path: Path) -> None:
    embedding = torch.randn(5, 3)
    weights = {
        "embed": embedding, "head": embedding, "row": embedding[1], "columns": embedding.T,
        "mask": torch.ones(2, 2, dtype=torch.bool).tril(), "half": torch.ones(2).half(),
    }  # fmt: skip
    sha256 = pytorch_file(tmp_path, saved(weights))
    with pytest.raises(InputError, match="weights as safetensors"):
        copy_model(model(), tmp_path / "out")
    with pytest.raises(
        InputError, match=f"SHA-256 of pytorch_model.bin is {sha256}, pytorch_model"
    ):
        copy_model(model(pytorch_model_sha256="0" * 64), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    for out in (tmp_path / "out", tmp_path / "again"):
        copy_model(model(pytorch_model_sha256=sha256), out)
        assert sorted(path.name for path in out.iterdir()) == SAFE
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    assert all(found[name].dtype == weights[name].dtype for name in weights)
    first, second = ((tmp_path / out / SAFE[1]).read_bytes() for out in ("out", "again"))
    assert first == second


class Harmful:
    """Unpickling it makes a directory."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda path: saved({"weight": Harmful(path)}), "not read as tensors alone"),
        (lambda path: saved([torch.ones(2)]), "not a table of tensors"),
        (lambda path: saved({"weight": torch.ones(2), "epoch": 3}), "not a table of tensors"),
        (lambda path: b"no zip, no pickle", "not read as tensors alone"),
        (lambda path: saved(torch.ones(999))[:900], "not read as tensors alone"),
        (lambda path: b"", "not read as tensors alone"),
    ],
)
@pytest.mark.usefixtures("offline")
def test_pytorch_file_that_is_no_table_of_tensors(tmp_path: Path, content, message: str) -> None:
    made = tmp_path / "made"
    sha256 = pytorch_file(tmp_path, content(made))
    with pytest.raises(InputError, match=message) as raised:
        copy_model(model(pytorch_model_sha256=sha256), tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert not made.exists()
    assert not (tmp_path / "out").exists()
