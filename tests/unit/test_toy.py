from typing import Any

import numpy as np
import pandas as pd
import pytest
from sae_lens.synthetic import compute_classification_metrics, mean_correlation_coefficient
from scipy.stats import multivariate_normal, norm
from torch import from_numpy

from universality.core.errors import InputError
from universality.core.io import read_table
from universality.core.params.base import load_section, validate
from universality.core.style import styled
from universality.studies.saes.figures import toy as draw
from universality.studies.saes.params.toy import Toy, ToyCondition
from universality.studies.saes.stages.toy_saes import command
from universality.studies.saes.study.toy import (
    Samples,
    agreement,
    direction_measures,
    firing_measures,
    firings,
    judge,
    null_dictionary,
    sample,
    summarise,
    true_directions,
)

SECTIONS = """
toy:
  d: 16
  n_true: 32
  density: 0.05
  magnitude_sd: 0.25
  group_size: 8
  conditions:
    independent: {kind: independent, strength: 0}
    composed: {kind: pairs, strength: 0.9}
  families:
    standard: {architecture: standard, sparsity: [1, 2], reference: 1, expansions: [1, 2]}
    topk: {architecture: topk, sparsity: [1], reference: 1, expansions: [2]}
  reference_expansion: 2
  n_samples: 24000
  n_evaluation: 2000
  seeds: [0, 1]
  sae_seeds: [0, 5]
  batch_size: 64
  learning_rate: 0.02
  dead_window: 1280
  found_above: 0.9
  carried_above: 0.3
  n_null: 3
sae_training:
  step: sparse
  batch_size: 4096
  learning_rate: 0.0001
  warmup_fraction: 0.02
  decay_fraction: 0.2
  sparsity_warmup_fraction: 0.05
  normalize_activations: expected_average_only_in
  apply_b_dec_to_input: true
  aux_coefficient: 1.0
  dead_window: 12800
  jumprelu_bandwidth: 0.05
  jumprelu_threshold: 0.01
  matryoshka_levels: [0.5]
  resample_at: []
  resample_samples: 8192
  resample_warmup: 40
  checkpoint_every: 200
  log_every: 20
"""
ROOT2 = 0.5**0.5
AXES = np.eye(4, dtype=np.float32)


@pytest.fixture(scope="module")
def parameters(tmp_path_factory):
    path = tmp_path_factory.mktemp("toy") / "params.yaml"
    path.write_text(SECTIONS)
    return path


@pytest.fixture(scope="module")
def toy(parameters):
    return load_section(parameters, Toy, "toy")


@pytest.fixture(scope="module")
def tables(parameters, tmp_path_factory):
    out = tmp_path_factory.mktemp("tables") / "toy"
    command(out, parameters)
    return {path.stem: read_table(path) for path in sorted(out.iterdir())}


def _condition(kind, strength):
    return ToyCondition(kind=kind, strength=strength)


def _fires(toy, kind, strength, n=200_000):
    return firings(_condition(kind, strength), n, toy, np.random.default_rng(0))


def test_directions_are_unit_seeded_and_as_orthogonal_as_they_can_be():
    directions = true_directions(16, 8, 0)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, rtol=1e-5)
    assert np.array_equal(directions, true_directions(16, 8, 0))
    assert not np.array_equal(directions, true_directions(16, 8, 1))
    square = np.square(directions @ directions.T).sum() - 16
    assert square / (16 * 15) < 1.2 * (16 - 8) / (8 * 15)  # Welch's bound; 1/8 if at random
    np.testing.assert_allclose(np.abs(true_directions(4, 8, 0) @ true_directions(4, 8, 0).T),
                               np.eye(4), atol=0.02)  # fmt: skip


def test_independent_and_grouped_features_fire_as_often_as_they_should(toy):
    fires = _fires(toy, "independent", 0)
    np.testing.assert_allclose(fires.mean(0), 0.05, atol=0.003)
    assert (fires[:, 0] & fires[:, 1]).mean() == pytest.approx(0.0025, abs=5e-4)
    fires = _fires(toy, "groups", 0.5)
    np.testing.assert_allclose(fires.mean(0), 0.05, atol=0.003)
    covariance: Any = [[1, 0.5], [0.5, 1]]
    both = multivariate_normal(cov=covariance).cdf([norm.ppf(0.05)] * 2)
    assert (fires[:, 0] & fires[:, 7]).mean() == pytest.approx(both, abs=0.001)
    assert (fires[:, 7] & fires[:, 8]).mean() == pytest.approx(0.0025, abs=5e-4)  # other group


@pytest.mark.parametrize("strength", [0.0, 0.6, 1.0])
def test_parts_of_a_pair_fire_together_in_the_share_asked_for(toy, strength):
    fires = _fires(toy, "pairs", strength)
    np.testing.assert_allclose(fires.mean(0), 0.05, atol=0.003)
    both = (fires[:, ::2] & fires[:, 1::2]).sum()
    assert both / fires[:, ::2].sum() == pytest.approx(strength, abs=0.01)
    assert both / fires[:, 1::2].sum() == pytest.approx(strength, abs=0.01)
    assert (fires[:, 1] & fires[:, 2]).mean() == pytest.approx(0.0025, abs=5e-4)


def test_children_fire_only_with_their_parent(toy):
    parent, child = (_fires(toy, "children", 0.4)[:, i::2] for i in (0, 1))
    assert not (child & ~parent).any()
    assert child.sum() / parent.sum() == pytest.approx(0.4, abs=0.01)
    assert (parent.mean() + child.mean()) / 2 == pytest.approx(0.05, abs=0.001)


def test_samples_are_sums_of_firing_directions_of_magnitude_1(toy):
    directions = true_directions(toy.n_true, toy.d, 0)
    drawn = sample(directions, _condition("pairs", 1.0), 20_000, toy, np.random.default_rng(0))
    firing = drawn.activations[drawn.activations > 0]
    assert firing.mean() == pytest.approx(1, abs=0.02)
    assert firing.std() == pytest.approx(0.25, abs=0.02)
    together = drawn.activations[drawn.activations[:, 0] > 0][:, :2]
    assert abs(np.corrcoef(together.T)[0, 1]) < 0.1  # magnitudes are independent
    np.testing.assert_allclose(
        drawn.inputs[7], sum(a * d for a, d in zip(drawn.activations[7], directions, strict=True)),
        atol=1e-6,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["independent", "groups", "pairs", "children"])
def test_the_truth_is_recovered_and_neither_composed_nor_absorbed(toy, kind):
    directions = true_directions(toy.n_true, toy.d, 0)
    rng = np.random.default_rng(1)
    drawn = sample(directions, _condition(kind, 0.6), 5000, toy, rng)
    order = rng.permutation(toy.n_true)  # neither the order of latents nor their scale counts
    scale = rng.uniform(0.5, 2, toy.n_true).astype(np.float32)
    decoder, latents = (directions * scale[:, None])[order], (drawn.activations / scale)[:, order]
    found = judge(drawn, decoder, latents, latents @ decoder, toy)
    for name in (
        "mmcs", "mmcs_learned", "recovered", "recovered_precision", "recovered_f1", "pairs_parts",
        "detection_f1", "parent_recall_with_child", "parent_recall_alone", "explained_variance",
    ):  # fmt: skip
        assert found[name] == pytest.approx(1, abs=1e-6), name
    for name in ("composed_rate", "sum_latent", "pairs_part_and_sum", "pairs_sum_only",
                 "pairs_neither", "absorption_rate", "dead_fraction"):  # fmt: skip
        assert found[name] == pytest.approx(0, abs=1e-6), name
    assert found["l0"] == found["l0_true"]


def test_direction_measures_by_hand():
    """Pairs (0, 1) and (2, 3): of the first the sum was learned, of the second part 2 and the sum.

    Best cosines: 0 and 1 with the first sum .707, 2 with itself 1, 3 with the second sum .707.
    """
    decoder = np.array([[3, 3, 0, 0], [0, 0, 1, 0], [0, 0, 2, 2]], dtype=np.float32)
    found = direction_measures(AXES, decoder, 0.9)
    assert found == pytest.approx(
        {
            "mmcs": (1 + 3 * ROOT2) / 4,
            "mmcs_learned": (1 + 2 * ROOT2) / 3,
            "recovered": 1 / 4,
            "recovered_precision": 1 / 3,
            "recovered_f1": 2 / 7,
            "composed_rate": 1 / 2,  # of the second pair, part 2 is matched as well as the sum
            "sum_latent": 1,
            "pairs_parts": 0,
            "pairs_part_and_sum": 1 / 2,
            "pairs_sum_only": 1 / 2,
            "pairs_neither": 0,
        }
    )
    none = direction_measures(AXES, -AXES, 0.9)  # the opposite direction is another one
    assert none["recovered"] == none["recovered_f1"] == 0
    assert none["pairs_neither"] == 1
    twice = direction_measures(AXES, np.concatenate([AXES, AXES]), 0.9)
    assert (twice["recovered"], twice["recovered_precision"]) == (1, 0.5)


def test_direction_measures_do_not_change_with_rotation_and_order():
    rng = np.random.default_rng(0)
    directions, decoder = rng.normal(size=(16, 8)), rng.normal(size=(30, 8))
    rotation = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    turned = direction_measures(directions @ rotation, decoder[::-1] @ rotation, 0.7)
    assert turned == pytest.approx(direction_measures(directions, decoder, 0.7))
    assert turned["mmcs"] < 1


def _absorbing(decoder, latents):
    """Feature 0 is the parent of 1: it fires in samples 0 to 5, its child in 0 to 3."""
    activations = np.zeros((8, 4), dtype=np.float32)
    activations[:6, 0] = activations[:4, 1] = activations[6:, 2] = 1
    return firing_measures(Samples(AXES, activations), np.array(decoder), latents, 0.3)


def test_absorption_by_hand():
    latents = np.zeros((8, 4), dtype=np.float32)
    latents[3:6, 0] = latents[:4, 1] = latents[6:, 2] = 2  # the parent's is silent in 3 of 4
    absorbing = [[1, 0, 0, 0], [ROOT2, ROOT2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    found = _absorbing(absorbing, latents)
    assert found["absorption_rate"] == 0.75  # 2 and 3 never fire together and do not count
    assert found["parent_recall_with_child"] == 0.25
    assert found["parent_recall_alone"] == 1  # of the first pair 2 of 2, of the second 2 of 2
    # F1: parent 2 * 3 / (6 + 3), child 1, feature 2 1, feature 3 never fires and is not detected.
    assert found["detection_f1"] == pytest.approx((2 / 3 + 1 + 1 + 0) / 4)
    assert (found["l0"], found["l0_true"]) == (9 / 8, 12 / 8)
    # A silent parent is no absorption if nothing carries its direction, or if the child's latent
    # is silent too, or if one latent serves both: that is composition.
    assert _absorbing(AXES, latents)["absorption_rate"] == 0
    silent = latents.copy()
    silent[:, 1] = 0
    assert _absorbing(absorbing, silent)["absorption_rate"] == 0
    composed = [[ROOT2, ROOT2, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert _absorbing(composed, latents)["absorption_rate"] == 0
    assert np.isnan(firing_measures(Samples(AXES, AXES), AXES, AXES, 0.3)["absorption_rate"])


def test_f1_and_cosine_are_those_of_saelens_where_latents_match_features_one_to_one(toy):
    directions = true_directions(toy.n_true, toy.d, 0)
    rng = np.random.default_rng(0)
    drawn = sample(directions, _condition("groups", 0.5), 4000, toy, rng)
    order = rng.permutation(toy.n_true)
    noisy = rng.normal(0, 0.05, directions.shape).astype(np.float32)
    decoder = (directions + noisy)[order]
    noise = rng.random((4000, toy.n_true)) < 0.02
    latents = np.where(noise, 1, drawn.activations)[:, order].astype(np.float32)
    latents[::3] = 0
    ours = judge(drawn, decoder, latents, latents @ decoder, toy)
    theirs = compute_classification_metrics(
        *map(from_numpy, (latents, drawn.activations, decoder, directions))
    )
    assert ours["detection_f1"] == pytest.approx(theirs.f1_score, abs=1e-5)
    assert 0.3 < ours["detection_f1"] < 0.9
    cosine = mean_correlation_coefficient(from_numpy(directions), from_numpy(decoder))
    assert ours["mmcs"] == pytest.approx(cosine, abs=1e-5)
    assert ours["mmcs"] < 0.999


def test_dead_latents_find_nothing(toy):
    directions = true_directions(toy.n_true, toy.d, 0)
    drawn = sample(directions, _condition("pairs", 0.5), 2000, toy, np.random.default_rng(0))
    latents = drawn.activations.copy()
    latents[:, 16:] = 0
    found = judge(drawn, directions, latents, latents @ directions, toy)
    assert found["recovered"] == found["dead_fraction"] == 0.5
    assert found["recovered_precision"] == 1
    with pytest.raises(InputError, match=r"toy\.families is too high"):
        judge(drawn, directions, np.zeros_like(latents), drawn.inputs, toy)


def test_null_dictionaries(toy):
    directions = true_directions(toy.n_true, toy.d, 0)
    rng = np.random.default_rng(0)
    drawn = sample(directions, _condition("independent", 0), 200, toy, rng)
    inputs = {tuple(row) for row in drawn.inputs}
    found = null_dictionary("samples", drawn, 32, rng)
    assert {tuple(row) for row in found} <= inputs
    assert len({tuple(row) for row in found}) == 32
    assert found.any(1).all()
    assert null_dictionary("random", drawn, 32, rng).shape == (32, 16)
    with pytest.raises(InputError, match="fewer than 300 latents"):
        null_dictionary("samples", drawn, 300, rng)


def test_agreement_by_hand():
    decoder = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 1, 1, 1]], dtype=float)
    other = np.array([[2, 0, 0, 0], [1, 1, 0, 0]], dtype=float)
    found = agreement(AXES, decoder, other, 0.9)
    assert found == {"shared": 0.5, "true": 0.5, "true_if_shared": 0.5, "true_if_not": 0.5}
    assert np.isnan(agreement(AXES, decoder, decoder, 0.9)["true_if_not"])
    assert np.isnan(agreement(AXES, decoder, -other, 0.9)["true_if_shared"])


def test_summary_is_students_interval_and_leaves_out_what_is_undefined():
    table = pd.DataFrame({"key": "a", "seed": [0, 1, 2], "l0": [11.0, 12, 13], "y": [1, np.nan, 1]})
    (row,) = summarise(table, ["key"]).to_dict("records")
    assert (row["key"], row["measure"], row["n_seeds"], row["mean"]) == ("a", "l0", 3, 12)
    assert row["high"] - row["mean"] == pytest.approx(4.302653 / 3**0.5)  # t of 2 degrees
    assert row["mean"] - row["low"] == pytest.approx(4.302653 / 3**0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group_size": 3}, "group_size 3 does not divide n_true 32"),
        ({"reference_expansion": 3}, r"families\.standard\.expansions lacks 3"),
        ({"sae_seeds": [1, 2]}, "sae_seeds lacks 0"),
        ({"n_true": 15}, "n_true"),
        ({"seeds": [0]}, "seeds"),
    ],
)
def test_bad_parameters_are_one_line(toy, changes, message):
    with pytest.raises(InputError, match=message):
        validate(Toy, toy.model_dump() | changes, "toy")


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"reference": 7}, "reference is 7"), ({"sparsity": [1, 1.5]}, "expected a whole k")],
)
def test_bad_families_are_one_line(toy, changes, message):
    values = toy.model_dump()
    values["families"]["topk"] |= changes
    with pytest.raises(InputError, match=message):
        validate(Toy, values, "toy")


def _mean(summary, measure, **where):
    for column, value in where.items():
        summary = summary[summary[column] == value]
    return summary.loc[summary["measure"] == measure, "mean"].mean()


def test_stage_finds_planted_features_and_its_nulls_do_not(tables):
    summary = tables["summary"]
    assert len(tables["saes"].query("kind == 'trained'")) == 2 * 2 * 4
    standard = {"condition": "independent", "family": "standard", "width": 1.0}
    trained = _mean(summary, "recovered", kind="trained", reference=True, **standard)
    assert trained > 0.8
    assert _mean(summary, "recovered", kind="untrained", **standard) < 0.1
    assert _mean(summary, "recovered", kind="random", condition="independent") < 0.1
    for condition in ("independent", "composed"):
        truth = {"kind": "truth", "condition": condition}
        assert _mean(summary, "recovered_f1", **truth) == 1
        assert _mean(summary, "composed_rate", **truth) == 0
        assert _mean(summary, "mmcs", kind="truth_weights", condition=condition) == pytest.approx(1)
    sums = {name: _mean(summary, "sum_latent", **(standard | {"condition": name}), kind="trained")
            for name in ("independent", "composed")}  # fmt: skip
    assert sums["composed"] > sums["independent"] + 0.3
    pairs = tables["agreement"]
    assert sorted(map(tuple, pairs[["seed", "other_seed"]].drop_duplicates().to_numpy())) == [
        (0, 5), (5, 0),
    ]  # fmt: skip
    independent = pairs.query("condition == 'independent' and family == 'standard'")
    assert (independent["shared"] > 0.7).all()
    assert (independent["true_if_shared"] > 0.7).all()
    assert (pairs["shared_null"] < 0.1).all()


def test_stage_gives_the_same_bytes_twice_and_needs_no_second_thread(parameters, tmp_path, tables):
    import torch

    short = tmp_path / "short.yaml"
    short.write_text(parameters.read_text().replace("n_samples: 24000", "n_samples: 640"))
    before = torch.get_num_threads()
    for name in ("one", "two"):
        command(tmp_path / name, short)
    assert torch.get_num_threads() == before
    names = {f"{name}.parquet" for name in tables}
    assert {path.name for path in (tmp_path / "one").iterdir()} == names
    for name in names:
        one, two = ((tmp_path / run / name).read_bytes() for run in ("one", "two"))
        assert one == two


def test_intervals_are_cut_at_what_a_measure_can_be():
    table = pd.DataFrame({"key": "a", "seed": [0, 1], "recovered": [0.9, 1.0], "mmcs": [-1, 0]})
    shares, cosines = summarise(table, ["key"]).to_dict("records")
    half = 12.706205 * 0.05  # t of one degree of freedom
    assert shares["low"] == pytest.approx(0.95 - half)
    assert shares["high"] == 1
    assert (cosines["low"], cosines["high"]) == (-1, 1)


def test_figures_show_every_family_and_the_nulls(tables):
    summary, pairs = tables["summary"], tables["agreement"]
    with styled():
        figure, points = draw.recovery(summary), draw.agreements(pairs)
        figure.draw_without_rendering()
        points.draw_without_rendering()
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert set(labels) == {
        "samples as dictionary", "random directions", "untrained SAEs", "L1", "TopK",
    }  # fmt: skip
    assert len(figure.axes) == 2 * 3
    for axes in (figure.axes[0], points.axes[0]):
        assert axes.get_title() == "independent"
    rows = pairs.query("condition == 'composed' and family == 'topk'")
    shares = [rows[column].mean() for column in ("shared", "true_if_shared", "true")]
    lines: Any = [line.get_xydata() for line in points.axes[1].lines]
    drawn = {(round(float(x), 2), round(float(y), 6)) for line in lines for x, y in line}
    for x, y in zip((0.78, 1.0, 1.22), shares, strict=True):  # the second family stands at 1
        assert np.isnan(y) or (x, round(float(y), 6)) in drawn
