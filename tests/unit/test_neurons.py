import numpy as np
import pytest
import torch
from sklearn.linear_model import orthogonal_mp

from universality.core.errors import InputError
from universality.core.io import write_arrays
from universality.core.sae_weights import mlp_output
from universality.studies.saes.study.neurons import (
    matched_directions,
    neuron_classes,
    neurons_needed,
    unit,
)


def test_matched_directions_have_the_second_moment(rng):
    rows = unit(rng.normal(size=(500, 3)) * [3, 1, 0.2])
    drawn = matched_directions(rows, 20_000, rng)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1)
    gaussian = rng.multivariate_normal(np.zeros(3), rows.T @ rows / 500, 20_000)
    expected = unit(gaussian)
    np.testing.assert_allclose(drawn.T @ drawn, expected.T @ expected, atol=300)


def test_neurons_in_their_own_basis():
    rows = unit(np.array([[0, 5.0, 0, 0], [1, 0, -1, 0], [1, 1, 1, 1], [1, 0, 0, 10]]))
    needed, first, cosine = neurons_needed(rows, np.eye(4), 0.9, 2)
    assert needed.tolist() == [1, 2, 3, 1]
    assert first.tolist()[:2] == [1, 0]
    assert first[3] == 3
    np.testing.assert_allclose(cosine[:2], [1, 0.5**0.5])
    classes = neuron_classes(needed, 2)
    assert classes["one_neuron"].tolist() == [True, False, False, True]
    assert classes["few_neurons"].tolist() == [False, True, False, False]
    assert classes["dense"].tolist() == [False, False, True, False]


def test_count_does_not_depend_on_the_rotation(rng):
    rows = unit(rng.normal(size=(200, 12)) ** 3)
    rotation = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    expected, first, cosine = neurons_needed(rows, np.eye(12), 0.9, 6)
    found = neurons_needed(rows @ rotation, rotation, 0.9, 6)
    assert np.array_equal(expected, found[0])
    assert np.array_equal(first, found[1])
    np.testing.assert_allclose(cosine, found[2], atol=1e-5)
    assert len(set(expected)) > 3


def test_neurons_are_recovered_from_an_overcomplete_set(rng):
    neurons = unit(rng.normal(size=(96, 48)))
    one = -2 * neurons[[5]]
    three = neurons[[7]] - neurons[[30]] + 0.9 * neurons[[80]]
    noise = rng.normal(size=(50, 48))
    rows = unit(np.concatenate([one, three, noise]))
    needed, first, cosine = neurons_needed(rows, neurons, 0.99, 8)
    assert needed[:2].tolist() == [1, 3]
    assert (first[0], cosine[0]) == (5, pytest.approx(-1))
    assert (needed[2:] > 8).all()


def test_pursuit_agrees_with_scikit_learns(rng):
    neurons, rows = unit(rng.normal(size=(30, 16))), unit(rng.normal(size=(40, 16)))
    expected = np.full(40, 7)
    for k in range(6, 0, -1):
        codes = np.reshape(orthogonal_mp(neurons.T, rows.T, n_nonzero_coefs=k), (30, 40))
        explained = 1 - np.square(rows - codes.T @ neurons).sum(1)
        expected[explained >= 0.8] = k
    assert np.array_equal(neurons_needed(rows, neurons, 0.8, 6)[0], expected)
    assert len(set(expected)) > 2


def test_neurons_that_cannot_span_the_direction_leave_it_dense():
    neurons = unit(np.array([[1.0, 0, 0], [1, 1e-6, 0], [1, 0, 0]]))
    needed, _, cosine = neurons_needed(np.array([[0.6, 0, 0.8]]), neurons, 0.9, 5)
    assert needed.tolist() == [6]
    assert cosine[0] == pytest.approx(0.6)


def test_mlp_output_is_what_the_neurons_write(tiny_model, plain_bridge):
    with torch.inference_mode():
        cache = plain_bridge.run_with_cache(torch.tensor([[0, 5, 70, 9]]))[1]
    for layer in (0, 1):
        hidden = cache[f"blocks.{layer}.mlp.hook_post"].numpy()
        written = hidden @ mlp_output(tiny_model, layer, 16)
        np.testing.assert_allclose(written, cache[f"blocks.{layer}.hook_mlp_out"], atol=1e-6)


def test_mlp_output_of_other_families_and_of_none(tmp_path, rng):
    matrix = rng.normal(size=(24, 16)).astype(np.float32)
    write_arrays(tmp_path / "model.safetensors", {"transformer.h.3.mlp.c_proj.weight": matrix})
    np.testing.assert_allclose(mlp_output(tmp_path, 3, 16), matrix)  # GPT-2: (in, out)
    np.testing.assert_allclose(mlp_output(tmp_path, 3, 24), matrix.T)  # linear: (out, in)
    with pytest.raises(InputError, match=r"has shape \(24, 16\); expected one side of 7"):
        mlp_output(tmp_path, 3, 7)
    with pytest.raises(InputError, match="no output matrix of the MLP of layer 13"):
        mlp_output(tmp_path, 13, 16)
