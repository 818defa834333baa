import numpy as np
import pytest
import torch

from universality.studies.saes.training.resampling import resample, squared_errors
from universality.studies.saes.training.schedule import Schedule


def _weights() -> dict[str, torch.Tensor]:
    """Feature 0 reads and writes the first axis; 1 and 2 are dead."""
    encoder = torch.tensor([[2.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    decoder = torch.tensor([[0.5, 0, 0], [0, 1, 0], [0, 0, 1]])
    b_enc = torch.tensor([0.0, -9, -9])
    return {"W_enc": encoder, "W_dec": decoder, "b_enc": b_enc, "b_dec": torch.zeros(3)}


def test_squared_error_by_hand():
    x = torch.tensor([[3.0, 0, 0], [0, 4, 0], [-1, 0, 2]])
    assert squared_errors(_weights(), x, chunk=2).tolist() == [0, 16, 5]


def test_dead_features_take_the_badly_reconstructed_inputs():
    weights = _weights()
    moments = [{name: torch.ones_like(value) for name, value in weights.items()} for _ in range(2)]
    x = torch.tensor([[3.0, 0, 0], [0, 4, 0]])  # only the second has a loss
    dead = torch.tensor([False, True, True])
    assert resample(weights, moments, dead, x, np.random.default_rng(0)) == 2
    axis = torch.tensor([0.0, 1, 0])
    for feature in (1, 2):
        assert torch.equal(weights["W_dec"][feature], axis)
        torch.testing.assert_close(weights["W_enc"][feature], 0.2 * 2 * axis)
        assert weights["b_enc"][feature] == 0
        for moment in moments:
            assert not moment["W_enc"][feature].any()
            assert not moment["W_dec"][feature].any()
            assert moment["b_enc"][feature] == 0
    before = _weights()
    assert torch.equal(weights["W_enc"][0], before["W_enc"][0])
    assert moments[0]["W_enc"][0].all()


def test_inputs_are_drawn_by_squared_loss():
    x = torch.tensor([[0.0, 1, 0], [0, 0, 3.0**0.5]])  # losses 1 and 3, so 1 to 9
    random, hits = np.random.default_rng(0), 0
    for _ in range(400):
        weights = _weights()
        resample(weights, [], torch.tensor([False, True, False]), x, random)
        hits += int(weights["W_dec"][1, 2] > 0.5)
    assert hits / 400 == pytest.approx(0.9, abs=0.05)


def test_nothing_dead_nothing_done():
    weights = _weights()
    none = torch.zeros(3, dtype=torch.bool)
    assert resample(weights, [], none, torch.ones(2, 3), np.random.default_rng(0)) == 0
    assert all(torch.equal(weights[name], value) for name, value in _weights().items())


def test_rate_warms_up_decays_and_dips():
    schedule = Schedule(1.0, n_steps=100, warmup=10, decay=20, dips=(50,), dip_length=9)
    assert schedule.learning_rate(0) == pytest.approx(0.1)
    assert schedule.learning_rate(10) == schedule.learning_rate(49) == 1
    assert schedule.learning_rate(50) == pytest.approx(0.1)
    assert schedule.learning_rate(53) == pytest.approx(0.4)
    assert schedule.learning_rate(59) == 1
    assert schedule.learning_rate(90) == pytest.approx(0.5)
