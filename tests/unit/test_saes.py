import itertools
import json

import numpy as np
import pytest
import torch
from sae_lens import SAE
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.training.sae_trainer import SAETrainer

import universality.saes.training as saes_module
from universality.errors import InputError
from universality.params.saes import SaeModel, SaeTraining
from universality.randomness import derive_seed
from universality.saes.training import new_sae, sae_id, save_sae, shuffled_batches, train_hook

HOOK = "blocks.0.hook_mlp_out"


def _params(**changes) -> SaeTraining:
    values = {
        "architecture": "topk", "expansion": 4, "batch_size": 100,
        "learning_rate": 0.003, "warmup_fraction": 0.1, "decay_fraction": 0.3,
        "aux_coefficient": 1.0, "dead_window": 10, "checkpoint_every": 8, "log_every": 10,
    }  # fmt: skip
    return SaeTraining(**(values | changes))


@pytest.fixture(scope="module")
def activations() -> np.ndarray:
    """1000 sparse mixtures of 24 directions in 12 dimensions, away from the origin."""
    random = np.random.default_rng(0)
    codes = random.gamma(2.0, size=(1000, 24)) * (random.random((1000, 24)) < 0.1)
    return (codes @ random.normal(size=(24, 12)) + 0.5).astype(np.float16)


def _norm(x: np.ndarray) -> float:
    return float(np.linalg.norm(x.astype(np.float64), axis=1).mean())


def _train(activations, tmp_path, seeds=(0,), n_samples=3000, **changes):
    wanted = SaeModel(hooks=[HOOK], k=3, n_samples=n_samples, seeds=list(seeds))
    norm = _norm(activations)
    return train_hook(activations, norm, HOOK, "m", wanted, _params(**changes), tmp_path)


def _weights(sae) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in sae.state_dict().items()}


def test_sae_id():
    assert sae_id("blocks.3.hook_mlp_out", 1) == "l3_mlp_out_seed1"
    assert sae_id("blocks.10.mlp.hook_post", 0) == "l10_mlp_hook_post_seed0"


def test_batches_are_an_epoch_of_distinct_rows_and_can_start_anywhere():
    data = np.arange(105, dtype=np.float16)[:, None]
    steps = list(itertools.islice(shuffled_batches(data, 10, 0), 25))
    for epoch in (steps[:10], steps[10:20]):
        rows = torch.cat(epoch).flatten().tolist()
        assert len(set(rows)) == 100
    assert not torch.equal(steps[0], steps[10])
    for first in (3, 10, 14):
        again = itertools.islice(shuffled_batches(data, 10, 0, first), 5)
        assert all(torch.equal(a, b) for a, b in zip(again, steps[first : first + 5], strict=True))
    with pytest.raises(InputError, match="105 activations are fewer"):
        next(shuffled_batches(data, 200, 0))


def test_training_is_that_of_saelens(activations, tmp_path):
    """Our loop over SAELens' trainer ends at the weights of SAELens' own `fit`."""
    params = _params()
    config = SAETrainerConfig(
        total_training_samples=3000, train_batch_size_samples=100, lr=0.003, lr_end=0.0,
        lr_warm_up_steps=3, lr_decay_steps=9, dead_feature_window=10,
        feature_sampling_window=1000, logger=LoggingConfig(log_to_wandb=False),
    )  # fmt: skip
    data = shuffled_batches(activations, 100, derive_seed(0, HOOK))
    trainer = SAETrainer(config, new_sae(params, 12, 3, HOOK, "m", 0), data_provider=data)
    trainer.activation_scaler.scaling_factor = 12**0.5 / _norm(activations)
    expected = _weights(trainer.fit())
    ours = _weights(_train(activations, tmp_path)[0][0])
    assert expected.keys() == ours.keys()
    assert all(torch.equal(expected[name], ours[name]) for name in expected)


@pytest.mark.parametrize("architecture", ["topk", "batchtopk"])
def test_sae_is_saved_for_saelens_and_explains_raw_activations(activations, tmp_path, architecture):
    saes, log = _train(activations, tmp_path / "ck", architecture=architecture, n_samples=40_000)
    save_sae(saes[0], tmp_path / "sae")
    loaded = SAE.load_from_disk(tmp_path / "sae")
    assert json.loads((tmp_path / "sae" / "cfg.json").read_text())["metadata"]["hook_name"] == HOOK
    x = torch.from_numpy(activations.astype(np.float32))
    with torch.no_grad():
        features = loaded.encode(x)
        error = (loaded.decode(features) - x).square().sum()
    assert float((features > 0).sum(1).float().mean()) == pytest.approx(3, abs=0.5)
    assert float(error / (x - x.mean(0)).square().sum()) < 0.35  # 0.9 without the folded scale
    assert log["loss"].iloc[-1] < 0.3 * log["loss"].iloc[0]
    assert log["samples"].iloc[-1] == 40_000


def test_seeds_share_the_data_and_differ(activations, tmp_path):
    together, log = _train(activations, tmp_path / "a", seeds=(0, 1))
    alone, _ = _train(activations, tmp_path / "b", seeds=(1,))
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            together[1].state_dict().values(), alone[1].state_dict().values(), strict=True
        )
    )
    assert not torch.equal(together[0].W_enc, together[1].W_enc)
    assert set(log["sae"]) == {"l0_mlp_out_seed0", "l0_mlp_out_seed1"}


class Killed(Exception):
    pass


@pytest.mark.parametrize("moment", [5, 8, 9, 20, 29])
@pytest.mark.parametrize("architecture", ["topk", "batchtopk"])
def test_resumed_run_equals_the_undisturbed_one(
    activations, tmp_path, monkeypatch, moment, architecture
):
    expected, expected_log = _train(activations, tmp_path / "a", architecture=architecture)
    step, count = SAETrainer.step, itertools.count()

    def failing(self, batch):
        if next(count) == moment:
            raise Killed
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(SAETrainer, "step", failing)
        with pytest.raises(Killed):
            _train(activations, tmp_path / "b", architecture=architecture)
    done = itertools.count()

    def counting(self, batch):
        next(done)
        return step(self, batch)

    monkeypatch.setattr(SAETrainer, "step", counting)
    resumed, log = _train(activations, tmp_path / "b", architecture=architecture)
    assert next(done) == 30 - moment // 8 * 8  # it did continue
    expected_state, state = _weights(expected[0]), _weights(resumed[0])
    assert all(torch.equal(expected_state[name], state[name]) for name in expected_state)
    assert log.equals(expected_log)


def test_checkpoint_of_other_parameters_is_not_used(activations, tmp_path):
    _train(activations, tmp_path / "a", learning_rate=0.001)
    fresh, _ = _train(activations, tmp_path / "b")
    after, _ = _train(activations, tmp_path / "a")
    assert torch.equal(fresh[0].W_dec, after[0].W_dec)


def test_kill_between_delete_and_rename_still_resumes(activations, tmp_path, monkeypatch):
    _train(activations, tmp_path)
    (tmp_path / "current").rename(tmp_path / "fresh")
    monkeypatch.setattr(SAETrainer, "step", None)  # every step was done before
    saes, _ = _train(activations, tmp_path)
    assert saes_module.sae_id(HOOK, 0) == "l0_mlp_out_seed0"
    assert torch.isfinite(saes[0].W_dec).all()


def test_divergence_is_one_line(activations, tmp_path):
    with pytest.raises(InputError, match=r"the loss is .* lower sae_training\.learning_rate"):
        _train(activations * np.float16(1), tmp_path, learning_rate=0.99, aux_coefficient=1e38)
