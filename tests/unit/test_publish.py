import time
from pathlib import Path

import pytest
import sae_lens
import torch
from fake_hub import Hub
from huggingface_hub import ModelCard, constants

from universality.core.errors import InputError
from universality.core.io import read_json, write_json
from universality.studies.saes.commands.publish import command

METRICS = {
    "tiny_l0_mlp_out_seed0": {
        "l0": 4.0, "l0_low": 4.0, "l0_high": 4.0,
        "explained_variance": 0.81234, "explained_variance_low": 0.8,
        "explained_variance_high": 0.82, "ce_loss_recovered": 0.9,
        "dead_fraction": 0.0125, "n_positions": 78082, "kurtosis": 2.0, "kurtosis_null": 0.1,
    },
    "tiny_l1_mlp_out_seed0": {"l0": 4.0, "explained_variance": 0.5},
}  # fmt: skip


def _save(path: Path, layer: int) -> sae_lens.SAE:
    config = sae_lens.TopKSAEConfig(d_in=6, d_sae=12, k=4, device="cpu")
    config.metadata.model_name = "tiny"
    config.metadata.hook_name = f"blocks.{layer}.hook_mlp_out"
    sae = sae_lens.TopKSAE(config)
    generator = torch.Generator().manual_seed(layer)
    for value in sae.state_dict().values():
        value.copy_(torch.randn(value.shape, generator=generator))
    sae.save_model(path)
    return sae


@pytest.fixture(scope="module")
def saes(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saes")
    for layer in (0, 1):
        _save(folder / f"l{layer}_mlp_out_seed0", layer)
    write_json(folder / "metrics.json", METRICS)
    return folder


def _same(a: sae_lens.SAE, b: sae_lens.SAE) -> bool:
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        return torch.equal(a.encode(x), b.encode(x)) and torch.equal(a(x), b(x))


def _files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


# A directory.


def test_directory_is_loaded_by_saelens_and_has_a_card(saes, tmp_path):
    out = tmp_path / "collection"
    corpus = tmp_path / "tales"
    write_json(corpus / "manifest.json", {"origin": {"sampled_from": "tiny", "seed": 3}})
    source = saes / "l0_mlp_out_seed0"
    command(source, str(out), metrics=saes / "metrics.json", corpus=corpus)
    name = "tiny_l0_mlp_out_seed0"
    assert _files(out) == [
        "README.md",
        f"{name}/cfg.json",
        f"{name}/corpus.json",
        f"{name}/metrics.json",
        f"{name}/sae_weights.safetensors",
    ]
    original = sae_lens.SAE.load_from_disk(saes / "l0_mlp_out_seed0")
    assert _same(sae_lens.SAE.load_from_disk(out / name), original)
    assert read_json(out / name / "metrics.json") == METRICS[name]

    card = ModelCard.load(out / "README.md")
    front = card.data.to_dict()
    assert (front["library_name"], front["license"]) == ("saelens", "mit")
    assert "sparse-autoencoder" in front["tags"]
    row = next(line for line in card.text.splitlines() if line.startswith(f"| `{name}`"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:] == [
        "`blocks.0.hook_mlp_out`", "topk", "6 → 12", "4 [4, 4]", "0.8123 [0.8, 0.82]", "0.9",
        "0.0125", "78082",
    ]  # fmt: skip
    assert "| `kurtosis` | 2 |  | 0.1 |  |" in card.text
    assert "Measured on validation text of `tales`: sampled_from tiny, seed 3." in card.text
    assert '"k": 4' in card.text
    assert f'SAE.load_from_disk("{name}")' in card.text


def test_second_sae_joins_the_first(saes, tmp_path):
    command(saes / "l1_mlp_out_seed0", str(tmp_path), name="b.2", licence="apache-2.0")
    first = (tmp_path / "b.2" / "sae_weights.safetensors").read_bytes()
    command(saes / "l0_mlp_out_seed0", str(tmp_path), metrics=saes / "metrics.json")
    card = ModelCard.load(tmp_path / "README.md").text
    assert (tmp_path / "b.2" / "sae_weights.safetensors").read_bytes() == first
    rows = [line for line in card.splitlines() if line.startswith("| `")]
    assert rows[0].startswith("| `b.2` | `blocks.1.hook_mlp_out` |")
    assert rows[0].count("not measured") == 5
    assert rows[1].startswith("| `tiny_l0_mlp_out_seed0` | `blocks.0.hook_mlp_out` |")
    assert "Nothing was measured of this SAE." in card
    # Publishing again replaces, and changes nothing else.
    before = _files(tmp_path)
    command(saes / "l0_mlp_out_seed0", str(tmp_path), metrics=saes / "metrics.json")
    assert ModelCard.load(tmp_path / "README.md").text == card
    assert _files(tmp_path) == before


def _broken(tmp_path: Path, saes: Path, **files: bytes | None) -> Path:
    """A copy of the first SAE with some files replaced or left out."""
    names = {"config": "cfg.json", "weights": "sae_weights.safetensors"}
    folder = tmp_path / "broken"
    folder.mkdir()
    for key, name in names.items():
        content = files.get(key, (saes / "l0_mlp_out_seed0" / name).read_bytes())
        if content is not None:
            (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"config": None}, "not an SAE in SAELens format: it has no cfg.json"),
        ({"weights": None}, "it has no sae_weights.safetensors"),
        ({"config": b"{"}, "cfg.json: not valid JSON"),
        ({"config": b"[]"}, "cfg.json: expected the configuration of an SAE"),
        ({"config": b'{"architecture": "none", "metadata": {}}'}, "SAELens cannot open it"),
        ({"weights": b"xx"}, "SAELens cannot open it"),
    ],
)
def test_what_is_no_sae(saes, tmp_path, files, message):
    with pytest.raises(InputError, match=message) as error:
        command(_broken(tmp_path, saes, **files), str(tmp_path / "out"), name="x")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_weights_that_are_not_finite(saes, tmp_path):
    sae = _save(tmp_path / "bad", 0)
    sae.W_dec.data[0, 0] = torch.nan
    sae.save_model(tmp_path / "bad")
    with pytest.raises(InputError, match=r"sae_weights.safetensors: W_dec holds a NaN"):
        command(tmp_path / "bad", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "other"}, r"metrics.json: no id 'other'; there is: tiny_l0_mlp_out_seed0, tiny"),
        ({"name": "../x"}, r"--id is '../x', expected letters"),
        ({"to": "hf:nobody"}, r"--to is 'hf:nobody', expected a directory or hf:OWNER/REPOSITORY"),
        ({"to": "hf:a/b/c"}, "--to is 'hf:a/b/c'"),
    ],
)
def test_bad_arguments(saes, tmp_path, options, message):
    given = {"to": str(tmp_path / "out"), "metrics": saes / "metrics.json"} | options
    with pytest.raises(InputError, match=message):
        command(saes / "l0_mlp_out_seed0", **given)
    assert not (tmp_path / "out").exists()


def test_metrics_that_are_none(saes, tmp_path):
    write_json(tmp_path / "m.json", {"x": {"l0": "four"}})
    with pytest.raises(InputError, match=r"m.json: x is \{'l0': 'four'\}, expected"):
        command(
            saes / "l0_mlp_out_seed0", str(tmp_path / "o"), metrics=tmp_path / "m.json", name="x"
        )


def test_a_card_of_someone_else_is_kept(saes, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(InputError, match="was not written by"):
        command(saes / "l0_mlp_out_seed0", str(tmp_path))
    assert _files(tmp_path) == ["README.md"]
    with pytest.raises(InputError, match="is a file, expected a directory"):
        command(saes / "l0_mlp_out_seed0", str(tmp_path / "README.md"))


# The hub.


@pytest.fixture
def hub(monkeypatch, tmp_path):
    server = Hub()
    template = f"{server.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    yield server
    server.shutdown()
    server.server_close()


def test_hub_round_trip(saes, hub):
    for layer in (0, 1):
        command(saes / f"l{layer}_mlp_out_seed0", "hf:lab/saes", metrics=saes / "metrics.json")
    assert hub.commits == [f"Upload SAE tiny_l{layer}_mlp_out_seed0" for layer in (0, 1)]
    names = [f"tiny_l{layer}_mlp_out_seed0" for layer in (0, 1)]
    parts = ("cfg.json", "metrics.json", "sae_weights.safetensors")
    expected = [".gitattributes", "README.md", *(f"{n}/{part}" for n in names for part in parts)]
    assert sorted(hub.files) == expected
    card = hub.files["README.md"].decode()
    assert card.startswith("---\n")
    assert all(f"| `{name}` |" in card for name in names)
    assert f'SAE.from_pretrained("lab/saes", "{names[0]}")' in card
    for layer, name in enumerate(names):
        loaded = sae_lens.SAE.from_pretrained("lab/saes", name)
        assert loaded.cfg.metadata.hook_name == f"blocks.{layer}.hook_mlp_out"
        assert _same(loaded, sae_lens.SAE.load_from_disk(saes / f"l{layer}_mlp_out_seed0"))


def test_hub_that_refuses_is_one_line(saes, hub):
    hub.refuse = "you are not allowed"
    with pytest.raises(InputError, match=r"not published: .*403.*not allowed") as error:
        command(saes / "l0_mlp_out_seed0", "hf:lab/saes")
    assert "\n" not in str(error.value)
    assert hub.files is None
    hub.refuse = ""
    with pytest.raises(InputError, match="license is not one") as error:
        command(saes / "l0_mlp_out_seed0", "hf:lab/saes", licence="xyz")
    assert "\n" not in str(error.value)
    assert hub.commits == []


@pytest.mark.parametrize("offline", [True, False])
def test_hub_out_of_reach_is_said_at_once(saes, monkeypatch, offline):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    reason = "HF_HUB_OFFLINE is set" if offline else "127.0.0.1:9 cannot be reached"
    began = time.monotonic()
    with pytest.raises(InputError, match=f"hf:lab/saes: not published: .*{reason}"):
        command(saes / "l0_mlp_out_seed0", "hf:lab/saes")
    assert time.monotonic() - began < 6
