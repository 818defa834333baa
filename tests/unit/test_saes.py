import itertools
import json

import numpy as np
import pytest
import torch
from sae_lens import SAE
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.training.sae_trainer import SAETrainer

from universality.core.errors import InputError
from universality.core.hooks import sae_id
from universality.core.randomness import derive_seed
from universality.studies.saes.params.saes import Recipe, SaeTraining
from universality.studies.saes.training import active
from universality.studies.saes.training.architectures import new_sae
from universality.studies.saes.training.loop import Job, save_sae, shuffled_batches, train_sae
from universality.studies.saes.training.sparse_step import SparseTrainer

HOOK = "blocks.0.hook_mlp_out"
SPARSITY = {
    "topk": 3, "batchtopk": 3, "matryoshka": 3, "standard": 0.5, "jumprelu": 0.05, "gated": 0.5,
}  # fmt: skip


def _params(**changes) -> SaeTraining:
    values = {
        "step": "sparse", "batch_size": 100, "learning_rate": 0.003, "warmup_fraction": 0.1,
        "decay_fraction": 0.3, "sparsity_warmup_fraction": 0.2,
        "normalize_activations": "expected_average_only_in", "apply_b_dec_to_input": True,
        "aux_coefficient": 1.0,
        "dead_window": 1000, "jumprelu_bandwidth": 0.3, "jumprelu_threshold": 0.05,
        "matryoshka_levels": [0.25, 0.5], "resample_at": [], "resample_samples": 500,
        "resample_warmup": 5, "checkpoint_every": 8, "log_every": 10,
    }  # fmt: skip
    return SaeTraining(**(values | changes))


@pytest.fixture(scope="module")
def activations() -> np.ndarray:
    """2000 sparse mixtures of 24 directions in 12 dimensions, away from the origin."""
    random = np.random.default_rng(0)
    codes = random.gamma(2.0, size=(2000, 24)) * (random.random((2000, 24)) < 0.1)
    return (codes @ random.normal(size=(24, 12)) + 0.5).astype(np.float16)


def _norm(x: np.ndarray) -> float:
    return float(np.linalg.norm(x.astype(np.float64), axis=1).mean())


def _job(architecture="topk", seed=0, n_samples=3000, **recipe) -> Job:
    recipe = {"sparsity": SPARSITY[architecture], "expansion": 4} | recipe
    wanted = Recipe.model_validate({"architecture": architecture} | recipe)
    return Job(sae_id(HOOK, seed), "m", HOOK, wanted, seed, n_samples)


def _train(activations, folder=None, job=None, **changes):
    return train_sae(activations, _norm(activations), job or _job(), _params(**changes), folder)


def _weights(sae) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in sae.state_dict().items()}


def _equal(a, b) -> bool:
    a, b = _weights(a), _weights(b)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


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


def test_saelens_step_is_that_of_saelens(activations):
    """Our loop over SAELens' trainer ends at the weights of SAELens' own `fit`."""
    params, job = _params(step="saelens"), _job()
    config = SAETrainerConfig(
        total_training_samples=3000, train_batch_size_samples=100, lr=0.003, lr_end=0.0,
        lr_warm_up_steps=3, lr_decay_steps=9, dead_feature_window=10,
        feature_sampling_window=1000, logger=LoggingConfig(log_to_wandb=False),
    )  # fmt: skip
    data = shuffled_batches(activations, 100, derive_seed(0, HOOK))
    sae = new_sae(job.recipe, params, 30, 12, HOOK, "m", 0)
    trainer = SAETrainer(config, sae, data_provider=data)
    trainer.activation_scaler.scaling_factor = 12**0.5 / _norm(activations)
    assert _equal(trainer.fit(), _train(activations, step="saelens")[0])


# Selection by value has a dense form for many active features: always, in turn, never.
@pytest.mark.parametrize(
    ("architecture", "dense_above"),
    [*((name, 1 / 12) for name in SPARSITY), ("standard", 0.0), ("standard", 1.1),
     ("jumprelu", 0.0), ("jumprelu", 1.1), ("gated", 0.0), ("gated", 1.1)],
)  # fmt: skip
def test_sparse_step_trains_as_saelens_does(activations, monkeypatch, architecture, dense_above):
    """Same initial weights, same data, 300 steps: the same SAE but for the order of sums.

    An activation within rounding of its threshold may fall on either side of it, as on some
    processors one does after 150 steps of JumpReLU; from there on the two part.
    """
    monkeypatch.setattr(active, "DENSE_ABOVE", dense_above)
    job = _job(architecture, n_samples=12_000 if architecture == "jumprelu" else 30_000)
    ours, log = _train(activations, job=job)
    theirs, expected = _train(activations, job=job, step="saelens")
    _assert_alike(job, (ours, log), (theirs, expected))


@pytest.mark.parametrize("architecture", ["topk", "gated"])
@pytest.mark.parametrize(
    "changes", [{"apply_b_dec_to_input": False}, {"normalize_activations": "none"}]
)
def test_sparse_step_knows_the_options_of_saelens(activations, architecture, changes):
    job = _job(architecture, n_samples=10_000)
    ours = _train(activations, job=job, **changes)
    _assert_alike(job, ours, _train(activations, job=job, step="saelens", **changes), **changes)


def _assert_alike(job, ours, theirs, **changes):
    (ours, log), (theirs, expected) = ours, theirs
    for column, tolerance in (("loss", 2e-3), ("l0", 1e-2), ("dead_fraction", 1e-6)):
        np.testing.assert_allclose(log[column], expected[column], rtol=tolerance)
    a, b = _weights(ours), _weights(theirs)
    assert a.keys() == b.keys()
    start = _weights(new_sae(job.recipe, _params(**changes), 300, 12, HOOK, "m", 0))
    for name in a:
        moved = (b[name] - start[name]).abs().max()
        assert (a[name] - b[name]).abs().max() < 0.02 * moved, name
    assert ours.cfg.to_dict() == theirs.cfg.to_dict() | {"metadata": ours.cfg.to_dict()["metadata"]}
    assert ours.cfg.metadata.l0 == pytest.approx(theirs.cfg.metadata.l0, rel=1e-3)


@pytest.mark.parametrize("architecture", SPARSITY)
def test_sae_is_saved_for_saelens_and_explains_raw_activations(activations, tmp_path, architecture):
    sae, log = _train(activations, job=_job(architecture, n_samples=40_000))
    save_sae(sae, tmp_path / "sae")
    loaded = SAE.load_from_disk(tmp_path / "sae")
    assert json.loads((tmp_path / "sae" / "cfg.json").read_text())["metadata"]["hook_name"] == HOOK
    x = torch.from_numpy(activations.astype(np.float32))
    with torch.no_grad():
        features = loaded.encode(x)
        error = (loaded.decode(features) - x).square().sum()
    assert float((features > 0).sum(1).float().mean()) == pytest.approx(log["l0"].iloc[-1], rel=0.2)
    assert float(error / (x - x.mean(0)).square().sum()) < 0.35  # 0.9 without the folded scale
    assert log["loss"].iloc[-1] < 0.3 * log["loss"].iloc[0]
    assert log["samples"].iloc[-1] == 40_000


def test_seeds_share_the_data_and_differ(activations):
    (zero, log), (one, _) = (_train(activations, job=_job(seed=seed)) for seed in (0, 1))
    assert not torch.equal(zero.W_enc, one.W_enc)
    assert set(log["sae"]) == {"l0_mlp_out_seed0"}
    assert _equal(zero, _train(activations)[0])


class Killed(Exception):
    pass


@pytest.mark.parametrize("moment", [5, 8, 9, 20, 29])
@pytest.mark.parametrize(
    ("architecture", "step"),
    [("topk", "sparse"), ("batchtopk", "sparse"), ("gated", "sparse"), ("standard", "saelens"),
     ("batchtopk", "saelens")],
)  # fmt: skip
def test_resumed_run_equals_the_undisturbed_one(
    activations, tmp_path, monkeypatch, moment, architecture, step
):
    from universality.studies.saes.training.saelens_step import SaelensTrainer

    job = _job(architecture, resample=architecture == "standard" and step == "sparse")
    expected, expected_log = _train(activations, job=job, step=step)
    trainer = SparseTrainer if step == "sparse" else SaelensTrainer
    original, count = trainer.step, itertools.count()

    def failing(self, batch):
        if next(count) == moment:
            raise Killed
        return original(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "step", failing)
        with pytest.raises(Killed):
            _train(activations, tmp_path, job, step=step)
    done = itertools.count()

    def counting(self, batch):
        next(done)
        return original(self, batch)

    monkeypatch.setattr(trainer, "step", counting)
    resumed, log = _train(activations, tmp_path, job, step=step)
    assert next(done) == 30 - moment // 8 * 8  # it did continue
    assert _equal(expected, resumed)
    assert log.equals(expected_log)


def test_checkpoint_of_other_parameters_is_not_used(activations, tmp_path):
    _train(activations, tmp_path, learning_rate=0.001)
    assert _equal(_train(activations)[0], _train(activations, tmp_path)[0])


def test_kill_between_delete_and_rename_still_resumes(activations, tmp_path, monkeypatch):
    expected, _ = _train(activations, tmp_path)
    (tmp_path / "current").rename(tmp_path / "fresh")
    monkeypatch.setattr(SparseTrainer, "step", None)  # every step was done before
    assert _equal(expected, _train(activations, tmp_path)[0])


@pytest.mark.parametrize("step", ["sparse", "saelens"])
def test_divergence_is_one_line(activations, step):
    with pytest.raises(InputError, match=r"the loss is .* lower sae_training\.learning_rate"):
        _train(activations, learning_rate=0.99, aux_coefficient=1e38, step=step)


def test_orthogonality_spreads_the_decoder(activations):
    """Squared cosines fall as the coefficient grows; the gradient is autograd's."""
    found = []
    for coefficient in (0.0, 1.0, 30.0):
        sae, _ = _train(activations, job=_job(orthogonality=coefficient, n_samples=20_000))
        unit = torch.nn.functional.normalize(sae.W_dec.detach())
        found.append(float((unit @ unit.t()).square().sum()))
    assert found[0] > found[1] > found[2]
    trainer = SparseTrainer(
        new_sae(_job(orthogonality=2.0).recipe, _params(), 30, 12, HOOK, "m", 0),
        _job(orthogonality=2.0).recipe, None, 1.0, 10,  # pyright: ignore[reportArgumentType]
    )  # fmt: skip
    decoder = trainer.weights["W_dec"].clone().requires_grad_()
    unit = torch.nn.functional.normalize(decoder)
    (2.0 / len(unit) * (unit @ unit.t()).square().sum()).backward()
    trainer._add_orthogonality()
    assert decoder.grad is not None
    torch.testing.assert_close(trainer.gradients["W_dec"], decoder.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("changes", [{"resample": True}, {"orthogonality": 1.0}])
def test_saelens_step_refuses_what_it_does_not_know(activations, changes):
    with pytest.raises(InputError, match="expected 'sparse'"):
        _train(activations, job=_job("standard", **changes), step="saelens")
