"""SAEs that others share: files read as they are on disk, and placed where they were trained."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_hub
import tiny_saes
import torch
from huggingface_hub import constants

from universality.core.corpora import load_tokenizer, tokenize
from universality.core.errors import InputError
from universality.core.models import load_bridge
from universality.studies.saes.evaluation import load_sae
from universality.studies.saes.hookpoints import hook_table, misplaced, neighbouring_hooks
from universality.studies.saes.hub_saes import copy_saes, sparsify_hook
from universality.studies.saes.params.hub_saes import HubSaes, SaeHooks

COMMIT = "0123456789" * 4
TEXTS = [
    "Anna had a red kite. The wind took it up, up, up into the big blue sky!",
    "A small frog sat on a leaf. “Hello,” said the frog, “will you play with me?”",
    "Max was sad because his cake fell down. His sister gave him half of her cake.",
]


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put files into the hub's cache, which is all there is of the hub."""
    hub = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return lambda files: tiny_hub.cache(hub, "a/b", "model", COMMIT, files)


def wanted(form: str, hook: str, folder: str, factor: float | None = None, **more: Any) -> HubSaes:
    sae = {"hook": hook, "folder": folder, "norm_scaling_factor": factor}
    section = {"format": form, "repo": "a/b", "revision": COMMIT, "saes": [sae], "seed": 7}
    return HubSaes.model_validate(section | more)


def sparsify_weights(d: int = 12, n: int = 40) -> tiny_saes.Weights:
    torch.manual_seed(1)
    names = {"encoder.weight": (n, d), "encoder.bias": (n,), "W_dec": (n, d), "b_dec": (d,)}
    return {name: torch.randn(shape) for name, shape in names.items()}


def saelens_weights(d: int = 12, n: int = 40) -> tiny_saes.Weights:
    torch.manual_seed(2)
    names = {"W_enc": (d, n), "b_enc": (n,), "W_dec": (n, d), "b_dec": (d,)}
    return {name: torch.randn(shape) for name, shape in names.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("config", [{}, {"num_latents": 0, "expansion_factor": 5}])
def test_sparsify_sae_encodes_as_it_was_trained_to(cached, tmp_path, dtype, config):
    n = 60 if config else 40
    weights = {name: value.to(dtype) for name, value in sparsify_weights(n=n).items()}
    cached(tiny_saes.sparsify_files("layers.3.mlp", weights, k=4, **config))
    section = wanted("sparsify", "blocks.3.hook_mlp_out", "layers.3.mlp")
    copy_saes(section, "pythia", tmp_path / "out")
    sae = load_sae(tmp_path / "out" / "l3_mlp_out_seed7")
    w = {name: value.float() for name, value in weights.items()}
    x = 3 * torch.randn(50, 12)
    before = ((x - w["b_dec"]) @ w["encoder.weight"].T + w["encoder.bias"]).relu()
    values, indices = before.topk(4)
    expected = torch.zeros(50, n).scatter(1, indices, values)
    with torch.no_grad():
        features = sae.encode(x)
        torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)
        decoded = expected @ w["W_dec"] + w["b_dec"]
        torch.testing.assert_close(sae.decode(features), decoded, rtol=1e-5, atol=1e-5)
    assert (features > 0).sum() > 100
    assert {value.dtype for value in sae.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("subtracted", [True, False])
@pytest.mark.parametrize("factor", [None, 0.2])
@pytest.mark.parametrize("centred", [True, False])
def test_saelens_sae_encodes_as_it_was_trained_to(cached, tmp_path, subtracted, factor, centred):
    w, hook = saelens_weights(), "blocks.6.hook_resid_pre"
    config: dict[str, Any] = {} if subtracted else {"apply_b_dec_to_input": False}
    if factor:
        config["normalize_activations"] = "expected_average_only_in"
    cached(tiny_saes.saelens_files("some/folder", hook, w, **config))
    copy_saes(
        wanted("saelens", hook, "some/folder", factor, centred=centred), "gpt", tmp_path / "out"
    )
    sae = load_sae(tmp_path / "out" / "l6_resid_pre_seed7")
    x = 3 * torch.randn(50, 12) + 2
    seen = (factor or 1) * (x - x.mean(1, keepdim=True) if centred else x)
    shifted = seen - w["b_dec"] if subtracted else seen
    expected = (shifted @ w["W_enc"] + w["b_enc"]).relu()
    with torch.no_grad():
        features = sae.encode(x)
        torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-4)
        decoded = (expected @ w["W_dec"] + w["b_dec"]) / (factor or 1)
        torch.testing.assert_close(sae.decode(features), decoded, rtol=1e-5, atol=1e-4)


def test_configuration_says_what_it_is_and_where_it_comes_from(cached, tmp_path):
    cached(tiny_saes.sparsify_files("layers.3", sparsify_weights(), k=4))
    section = wanted("sparsify", "blocks.3.hook_resid_post", "layers.3", revision="main")
    for out in (tmp_path / "out", tmp_path / "again"):
        copy_saes(section, "pythia", out)
    folder = tmp_path / "out" / "l3_resid_post_seed7"
    config = json.loads((folder / "cfg.json").read_text())
    assert (config["architecture"], config["k"], config["dtype"]) == ("topk", 4, "float32")
    assert config["apply_b_dec_to_input"] is True
    assert config["normalize_activations"] == "none"
    metadata = config["metadata"]
    assert metadata["model_name"] == "pythia"
    assert metadata["hook_name"] == "blocks.3.hook_resid_post"
    assert metadata["hub_commit"] == COMMIT
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / folder.name / path.name).read_bytes()


def test_sparsify_names_the_module_whose_output_it_is():
    assert sparsify_hook("layers.3") == "blocks.3.hook_resid_post"
    assert sparsify_hook("layers.3.mlp") == "blocks.3.hook_mlp_out"
    assert sparsify_hook("x/layers.10.attention") == "blocks.10.hook_attn_out"
    for odd in ("layer_3", "layers.3.mlp.act", "embed_tokens"):
        with pytest.raises(InputError, match="names no hook"):
            sparsify_hook(odd)


@pytest.mark.parametrize(
    ("section", "files", "message"),
    [
        (("sparsify", "blocks.3.hook_mlp_out", "layers.3.mlp"), {}, "not available"),
        (
            ("sparsify", "blocks.3.hook_mlp_out", "layers.3.mlp"),
            {"layers.3.mlp/cfg.json": b"{}"},
            "it has no layers.3.mlp/sae.safetensors",
        ),
        (
            ("sparsify", "blocks.3.hook_mlp_out", "layers.3.mlp"),
            {"layers.3.mlp/cfg.json": b"{}", "layers.3.mlp/sae.safetensors": b"none"},
            "cannot be opened as sparsify",
        ),
        (
            ("sparsify", "blocks.3.hook_resid_post", "layers.3.mlp"),
            tiny_saes.sparsify_files("layers.3.mlp", sparsify_weights(), k=4),
            "say hook blocks.3.hook_mlp_out, the parameters blocks.3.hook_resid_post",
        ),
        (
            ("sparsify", "blocks.3.hook_resid_post", "layers.3"),
            tiny_saes.sparsify_files("layers.3", sparsify_weights(), k=4, signed=True),
            "keeps negative activations",
        ),
        (
            ("sparsify", "blocks.3.hook_resid_post", "layers.3"),
            tiny_saes.sparsify_files("layers.3", sparsify_weights(), k=4, activation="groupmax"),
            "has activation 'groupmax'",
        ),
        (
            ("sparsify", "blocks.3.hook_resid_post", "layers.3"),
            tiny_saes.sparsify_files("layers.3", sparsify_weights(), k=4, num_latents=41),
            "cannot be opened as sparsify .*size mismatch",
        ),
        (
            ("saelens", "blocks.6.hook_resid_pre", "x"),
            tiny_saes.saelens_files("x", "blocks.5.hook_resid_pre", saelens_weights()),
            "say hook blocks.5.hook_resid_pre, the parameters blocks.6",
        ),
        (
            ("saelens", "blocks.6.hook_resid_pre", "x"),
            tiny_saes.saelens_files(
                "x", "blocks.6.hook_resid_pre", saelens_weights(),
                normalize_activations="expected_average_only_in",
            ),
            "norm_scaling_factor is None; one needs the other",
        ),
        (
            ("saelens", "blocks.6.hook_resid_pre", "x", 0.2),
            tiny_saes.saelens_files("x", "blocks.6.hook_resid_pre", saelens_weights()),
            "normalize_activations 'none', and norm_scaling_factor is 0.2",
        ),
    ],
)  # fmt: skip
def test_bad_files_are_one_line(cached, tmp_path, section, files, message):
    if files:
        cached(files)
    with pytest.raises(InputError, match=message) as error:
        copy_saes(wanted(*section), "model", tmp_path / "out")
    assert str(error.value).startswith(f"hub SAEs a/b at {COMMIT}")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_neighbours_are_other_places():
    def n(hook: str) -> list[str]:
        return [name.removeprefix("blocks.") for name in neighbouring_hooks(hook, 3)]

    assert n("blocks.1.hook_resid_pre") == [
        "0.hook_resid_pre", "2.hook_resid_pre", "0.hook_mlp_out",
    ]  # fmt: skip
    assert n("blocks.1.hook_resid_post") == [
        "0.hook_resid_post", "2.hook_resid_post", "1.hook_mlp_out",
    ]  # fmt: skip
    assert n("blocks.0.hook_resid_pre") == ["1.hook_resid_pre"]
    assert n("blocks.2.hook_resid_pre")[:2] == ["1.hook_resid_pre", "2.hook_resid_post"]
    assert n("blocks.0.hook_resid_post")[:2] == ["0.hook_resid_pre", "1.hook_resid_post"]
    assert n("blocks.2.hook_resid_post") == ["1.hook_resid_post", "2.hook_mlp_out"]
    around = ["1.hook_resid_pre", "1.hook_resid_post"]
    assert n("blocks.1.hook_mlp_out") == ["0.hook_mlp_out", "2.hook_mlp_out", *around]
    assert n("blocks.2.mlp.hook_post") == ["1.mlp.hook_post"]


# SAEs planted at a known place.

SETTINGS = SaeHooks(
    n_documents=3, batch_tokens=64, min_explained_variance=0.5, n_bootstrap=100, seed=0
)


@pytest.fixture(scope="module", params=["gpt2", "neox", "gemma", "llama"])
def planted(request, tmp_path_factory) -> Any:
    """A model, its tokens, its activations by transformers alone, and its bridge."""
    files, end = tiny_hub.tokenizer_files(TEXTS)
    model = tiny_saes.new_model(request.param, 4, 32, end)
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    tokens = tokenize(TEXTS, range(3), *load_tokenizer(folder), 48)
    documents = [torch.from_numpy(ids).long() for ids in _split(tokens)]
    return tokens, tiny_saes.activations(model, documents), load_bridge(folder)


def _split(tokens: Any) -> list[Any]:
    return [tokens.ids[a:b] for a, b in zip(tokens.bounds[:-1], tokens.bounds[1:], strict=True)]


def placed(cached, tmp_path, x: torch.Tensor, folder: str) -> tuple[str, Any]:
    """Convert an SAE of `x` that is shared as `folder`; return its hook and itself."""
    weights = tiny_saes.remembering(x, len(x))
    cached(tiny_saes.sparsify_files(folder, weights, k=1))
    hook = sparsify_hook(folder)
    copy_saes(wanted("sparsify", hook, folder), "m", tmp_path / folder)
    return hook, load_sae(next((tmp_path / folder).iterdir()))


@pytest.mark.parametrize(
    ("folder", "place", "better"),
    [
        ("layers.1", ("stream", 2), None),  # hidden_states[0] is the embedding
        ("layers.2.mlp", ("mlp", 2), None),
        ("layers.1", ("stream", 1), "blocks.0.hook_resid_post"),
        ("layers.2", ("stream", 2), "blocks.1.hook_resid_post"),
        ("layers.0", ("stream", 2), "blocks.1.hook_resid_post"),
        ("layers.2.mlp", ("mlp", 1), "blocks.1.hook_mlp_out"),
        ("layers.2", ("mlp", 2), "blocks.2.hook_mlp_out"),
        ("layers.1.mlp", ("stream", 2), "blocks.1.hook_resid_post"),
    ],
)
def test_an_sae_explains_most_where_it_was_trained(
    planted, cached, tmp_path, folder, place, better
):
    tokens, activations, bridge = planted
    saes = {"sae": placed(cached, tmp_path, activations[place], folder)}
    table = hook_table(bridge, tokens, saes, False, SETTINGS)
    found: Any = table.set_index("measured_at")["explained_variance"]
    assert found[better or saes["sae"][0]] == pytest.approx(1, abs=1e-4)
    assert found.drop(better or saes["sae"][0]).max() < 0.98
    assert set(table["n_positions"]) == {int((~tokens.special).sum())}
    low, high = (table[f"explained_variance_{end}"].to_numpy() for end in ("low", "high"))
    assert (low <= high).all()
    problems = misplaced(table, SETTINGS.min_explained_variance)
    if better is None:
        assert problems == []
    else:
        assert len(problems) == 1
        assert f"1.000 at {better}" in problems[0]
        assert f"of the variance at its hook {saes['sae'][0]}" in problems[0]


def test_too_little_explained_is_misplaced_even_if_best(planted, cached, tmp_path):
    tokens, activations, bridge = planted
    x = activations["stream", 2]
    saes = {"sae": placed(cached, tmp_path, x + 5 * torch.randn_like(x), "layers.1")}
    table = hook_table(bridge, tokens, saes, False, SETTINGS)
    (problem,) = misplaced(table, 0.99)
    assert ", less than 0.99" in problem


def test_sae_of_centred_activations(planted, cached, tmp_path):
    """It is judged on centred activations; without centring it explains less."""
    tokens, activations, bridge = planted
    x = activations["stream", 1]
    weights = tiny_saes.principal(x - x.mean(1, keepdim=True), 16)
    hook = "blocks.1.hook_resid_pre"
    cached(tiny_saes.saelens_files("f", hook, weights))
    own: dict[bool, float] = {}
    for centred in (True, False):
        out = tmp_path / str(centred)
        copy_saes(wanted("saelens", hook, "f", centred=centred), "m", out)
        saes = {"sae": (hook, load_sae(out / "l1_resid_pre_seed7"))}
        table = hook_table(bridge, tokens, saes, centred, SETTINGS)
        own[centred] = float(table["explained_variance"].to_numpy()[0])
    assert own[True] > own[False] + 0.001
    assert own[True] > 0.8
