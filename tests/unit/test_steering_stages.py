"""The stages of the study of steering on a tiny model with SAEs, and `universality steer`."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from universality.core.corpora import load_tokenizer, load_tokens
from universality.core.errors import InputError
from universality.core.features import (
    first_token_features,
    position_table,
    sparse_features,
    write_features,
)
from universality.core.io import read_table, write_table
from universality.studies.saes.evaluation import load_sae
from universality.studies.steering.commands import steer
from universality.studies.steering.stages import (
    plot_steering,
    steer_downstream,
    steer_effects,
    steer_maps,
    steer_transfer,
)
from universality.studies.steering.summary import (
    downstream_metrics,
    effect_metrics,
    map_metrics,
    transfer_metrics,
)

CONTRASTS = """
one:
  pairs: [[Once upon a time, The dog], [Lily went to the park, Ben was sad]]
  words: [[a, the], [was]]
  prompts: [Tom liked to play, One day, They saw]
"""
PARAMS = """
steering: {method: mean, where: after_prompt, batch_rows: 64, n_bootstrap: 100, seed: 0}
steering_models:
  tiny:
    contrasts: [one]
    layers: [0, 1]
    site: hook_resid_post
    multipliers: [-2, 2]
    n_prompts: 3
    n_random: 2
    dose: 0.01
    writing: {n_new: 2, n_prompts: 2, multipliers: [2], n_random: 1}
steering_downstream:
  tiny:
    contrasts: [one]
    layers: [0]
    site: hook_resid_post
    multiplier: 20
    saes: saes/tiny
    prefix: ""
    sae_seed: 0
    n_random: 2
    n_documents: 3
    n_tokens: 12
    n_prompt: 4
    n_top: 3
    n_context_documents: 5
    n_contexts: 2
    context: 3
maps:
  {max_rows: 96, n_neighbors: 5, min_dist: 0.05, cluster_components: 3, cluster_min_dist: 0.1,
   n_epochs: 30, min_cluster_size: 3, n_top: 3, n_components: 8, graph_neighbours: 2,
   graph_false: 0.01, n_graphs: 2, n_shapes: 3, shape_positions: 100, epsilon: 0.1, n_angles: 6,
   n_planes: 2, min_positions: 3, batch_tokens: 256, n_null: 3, n_permutations: 99, n_groups: 5,
   seed: 0}
steered_maps:
  tiny:
    contrasts: [one]
    layers: [0]
    site: hook_resid_post
    multiplier: 20
    saes: saes/tiny
    prefix: ""
    sae_seed: 0
    seen: [blocks.1.hook_mlp_out]
    n_random: 2
    n_documents: 4
    n_tokens: 12
    n_prompt: 4
    n_near: 3
steered_pairs:
  itself:
    a: tiny
    b: tiny
    a_seed: 0
    b_seed: 0
    contrasts: [one]
    layers: [[0, 0]]
    site: hook_resid_post
    multipliers: [-4, 4]
    n_prompts: 3
    n_random: 3
    n_shuffled: 2
    n_fit_documents: 30
    n_documents: 5
    ridge: 0.000000001
    together:
      {multiplier: 20, n_documents: 3, n_tokens: 12, n_prompt: 4, n_random: 2, n_permutations: 19}
"""
HOOK = "blocks.1.hook_mlp_out"


@pytest.fixture(scope="module")
def project(request, tmp_path_factory) -> SimpleNamespace:
    """A folder with a model, an SAE of its last MLP, features, and all that the stages write."""
    from sae_lens import TopKSAE, TopKSAEConfig

    bridge = request.getfixturevalue("bridge")
    corpus: Path = request.getfixturevalue("tiny_corpus")
    root = tmp_path_factory.mktemp("steering")
    data, model = root / "data", root / "data" / "models" / "tiny"
    model.mkdir(parents=True)
    tiny: Path = request.getfixturevalue("tiny_model")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (model / name).write_bytes((tiny / name).read_bytes())
    _save_enlarged(tiny, model)
    torch.manual_seed(0)
    sae = TopKSAE(TopKSAEConfig(d_in=16, d_sae=32, k=4))
    sae.cfg.metadata.hook_name = HOOK
    sae.save_model(data / "saes" / "tiny" / "l1_mlp_out_seed0")
    tokens = load_tokens(corpus, "validation", model, 64)
    loaded = {"l1_mlp_out_seed0": (HOOK, load_sae(data / "saes" / "tiny" / "l1_mlp_out_seed0"))}
    place, matrices = sparse_features(bridge, tokens, loaded, 256, True)
    write_features(
        data / "features" / "tiny", position_table(tokens, place, load_tokenizer(model)[0]),
        matrices, first_token_features(bridge, tokens, loaded),
    )  # fmt: skip
    partners = {"pairing": "hungarian", "layer_a": 1, "layer_b": 1}
    numbers = np.arange(32)
    write_table(
        root / "matching" / "itself" / "pairs.parquet",
        pd.DataFrame({"feature_a": numbers, "feature_b": numbers}).assign(**partners),
    )
    (root / "params.yaml").write_text(PARAMS)
    (root / "contrasts.yaml").write_text(CONTRASTS)
    found = SimpleNamespace(root=root, data=data, model=model, corpus=corpus)
    for out in ("tables", "again"):
        _run(found, root / out)
    return found


def _save_enlarged(tiny: Path, model: Path) -> None:
    """Write the tiny model with the enlarged weights of the fixture `bridge`."""
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    with torch.no_grad():
        for name, weight in plain.named_parameters():
            weight *= 30 if "down_proj" in name else 3
    plain.save_pretrained(model)


def _run(project: SimpleNamespace, out: Path) -> None:
    params, contrasts = project.root / "params.yaml", project.root / "contrasts.yaml"
    steer_effects.command("tiny", project.model, contrasts, out / "effects" / "tiny", params)
    steer_downstream.command(
        "tiny", project.model, project.data / "saes" / "tiny", project.corpus, 64, contrasts,
        out / "downstream" / "tiny", params,
    )  # fmt: skip
    steer_maps.command(
        "tiny", project.model, project.data / "saes" / "tiny", project.corpus, contrasts,
        out / "maps" / "tiny", params,
    )  # fmt: skip
    steer_transfer.command(
        "itself", project.data / "models", project.data / "saes", project.root / "matching",
        project.corpus, 64, contrasts, out / "transfer" / "itself", params,
    )  # fmt: skip


def test_tables_are_the_same_bytes_every_time(project):
    tables = sorted((project.root / "tables").rglob("*.parquet"))
    assert len(tables) == 6 + 3 + 3 + 4
    for path in tables:
        again = project.root / "again" / path.relative_to(project.root / "tables")
        assert path.read_bytes() == again.read_bytes(), path.name


def test_a_model_steers_itself_as_with_its_own_vector(project):
    folder = project.root / "tables" / "transfer" / "itself"
    table = read_table(folder / "summary.parquet")
    np.testing.assert_allclose(table["mapped"], table["own"], atol=1e-3)
    np.testing.assert_allclose(table["cosine"], 1, atol=1e-4)
    assert read_table(folder / "maps.parquet")["r2"].item() > 0.999
    matched = read_table(folder / "matched.parquet")
    np.testing.assert_allclose(matched.query("steered_b != 'random'")["spearman"], 1, atol=0.02)


def test_changed_features_have_contexts_of_the_corpus(project):
    folder = project.root / "tables" / "downstream" / "tiny"
    features, contexts = (read_table(folder / f"{n}.parquet") for n in ("features", "contexts"))
    assert set(features["hook"]) == {HOOK}
    assert set(contexts["feature"]) <= set(features["feature"])
    assert contexts["text"].str.contains("[", regex=False).all()
    assert contexts["value"].to_numpy().min() > 0


def test_summaries_and_figures_come_from_the_tables(project):
    tables = project.root / "tables"
    metrics = (
        effect_metrics(tables / "effects")
        | downstream_metrics(tables / "downstream")
        | map_metrics(tables / "maps")
        | transfer_metrics(tables / "transfer")
    )
    effect = metrics["effect_tiny_one_mean_layer_1_times_2"]
    assert {"dose", "effect_low", "effect_null", "effect_null_high", "perplexity_greedy"} <= set(
        effect
    )
    assert "relative_change_null" in metrics["downstream_tiny_one_layer_0_at_mlp_out_1"]
    moved = metrics["map_tiny_one_layer_0_at_mlp_out_1"]
    assert moved["moved_features"] > 0
    assert {"kept_umap_low", "kept_umap_null_high", "kept_umap_unmoved"} <= set(moved)
    assert {"depth_tiny_layer_0", "depth_tiny_layer_1"} <= set(metrics)
    assert metrics["matched_itself_one_layer_0"]["spearman_own"] > 0.9
    out = project.root / "figures"
    plot_steering.command(tables, out, project.root / "params.yaml")
    assert {path.name for path in out.iterdir()} == {
        "doses_tiny.svg", "prices_tiny.svg", "downstream_tiny.svg", "maps_tiny.svg", "transfer.svg",
    }  # fmt: skip


def _steer(project, capsys, **changed):
    given = {
        "text": "Tom liked", "model": "tiny", "vector": "one", "layer": 0, "multiplier": 20.0,
        "n_new": 5, "data": project.data, "contrasts": project.root / "contrasts.yaml",
        "corpus": project.corpus,
    }  # fmt: skip
    steer.command(**(given | changed))
    return capsys.readouterr().out


def test_steer_prints_both_texts_and_features_with_contexts(project, capsys):
    out = _steer(project, capsys)
    assert out.startswith("As it is: Tom liked")
    plain, steered = (
        line.split(": ", 1)[1].strip() for line in out.splitlines() if line.startswith(("As", "St"))
    )
    assert plain != steered
    assert f"{HOOK} " in out
    assert "of its highest" in out
    zero = _steer(project, capsys, multiplier=0.0)
    lines = zero.splitlines()
    assert lines[0].split(": ", 1)[1] == lines[2].split(": ", 1)[1].strip()
    assert "No feature changed" in zero
    assert "No feature changed" in _steer(project, capsys, layer=1)


def test_steer_says_what_there_is(project, capsys):
    for changed, message in (
        ({"vector": "two"}, "no vector 'two'; there is: one"),
        ({"model": "gpt9"}, "no model 'gpt9'; there is: tiny"),
        ({"layer": 7}, "layer is 7; tiny has layers 0 to 1"),
        ({"site": "hook_x"}, "no hook 'blocks.0.hook_x'"),
    ):
        with pytest.raises(InputError, match=message):
            _steer(project, capsys, **changed)
    assert "is not there" in _steer(project, capsys, corpus=project.root / "none")
