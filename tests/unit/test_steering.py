"""Steering: where a vector is added, that nothing is left behind, and what is measured."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import DynamicCache

from universality.core.errors import InputError
from universality.studies.steering.effects import (
    Task,
    Trial,
    Writing,
    continuation_ce,
    dose_response,
    measure,
    word_score,
)
from universality.studies.steering.intervene import WHERE, Addition, begin, generate, steered
from universality.studies.steering.vectors import (
    difference_of_means,
    last_activations,
    principal_direction,
    random_like,
)

HOOK, LAST = "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"
PROMPTS = np.array([[0, 5, 9, 40, 7], [0, 11, 12, 40, 8], [0, 5, 9, 40, 7]])
WORDS = (np.array([20, 21]), np.array([30]))


def _run(bridge, ids, hooks=()):
    with torch.inference_mode(), bridge.hooks(fwd_hooks=list(hooks)):
        return bridge(torch.as_tensor(ids))


def _caught(bridge, ids, names, additions=(), n_prompt=5):
    """The activations of hooks, as they are after the additions."""
    found = {}

    def keep(name):
        return lambda value, **_: found.update({name: value.clone()})

    with steered(bridge, additions, n_prompt):
        _run(bridge, ids, [(name, keep(name)) for name in names])
    return found


@pytest.fixture
def vector(rng):
    return 3 * rng.standard_normal(16)


def test_zero_changes_nothing_bit_for_bit(bridge):
    plain = _run(bridge, PROMPTS)
    for where in WHERE:
        with steered(bridge, [Addition(HOOK, np.zeros(16), 5.0, where)], 5):
            assert torch.equal(_run(bridge, PROMPTS), plain)
    new = generate(bridge, PROMPTS, 4)
    same = generate(bridge, PROMPTS, 4, [Addition(HOOK, np.zeros((3, 16)))])
    np.testing.assert_array_equal(new, same)


def test_stream_after_a_block_is_the_stream_before_the_next(bridge, vector):
    for additions in ([], [Addition(HOOK, vector, 2.0)]):
        found = _caught(bridge, PROMPTS, [HOOK, "blocks.1.hook_resid_pre"], additions)
        assert torch.equal(found[HOOK], found["blocks.1.hook_resid_pre"])


@pytest.mark.parametrize(
    ("where", "positions"),
    [("last", [4]), ("after_prompt", [4, 5, 6]), ("all", [1, 2, 3, 4, 5, 6])],
)
def test_a_vector_is_added_where_it_should_be(bridge, vector, where, positions):
    ids = np.hstack([PROMPTS, [[3, 4], [5, 6], [3, 4]]])
    plain = _caught(bridge, ids, [HOOK])[HOOK]
    found = _caught(bridge, ids, [HOOK], [Addition(HOOK, vector, -2.0, where)])[HOOK]
    expected = plain.clone()
    expected[:, positions] += torch.from_numpy(-2.0 * vector).float()
    assert torch.equal(found, expected)


def test_every_row_has_its_own_vector(bridge, rng):
    rows = rng.standard_normal((3, 16))
    plain = _caught(bridge, PROMPTS, [HOOK])[HOOK]
    found = _caught(bridge, PROMPTS, [HOOK], [Addition(HOOK, rows, where="last")])[HOOK]
    np.testing.assert_allclose((found - plain)[:, 4], rows, atol=1e-5)
    assert torch.equal(found[:, :4], plain[:, :4])


@pytest.mark.parametrize("where", list(WHERE))
def test_with_the_cache_is_as_without(bridge, vector, where):
    additions = [Addition(HOOK, vector, 1.5, where), Addition(LAST, -vector, 1.0, where)]
    new = generate(bridge, PROMPTS, 6, additions)
    first, ids = begin(bridge, PROMPTS, additions)[0], PROMPTS
    with steered(bridge, additions, 5):
        for step in range(6):
            logits = _run(bridge, ids)[:, -1]
            if step == 0:
                torch.testing.assert_close(first, logits, rtol=1e-4, atol=1e-4)
            np.testing.assert_array_equal(logits.argmax(-1), new[:, step])
            ids = np.hstack([ids, new[:, step : step + 1]])
    if where != "last":
        assert not np.array_equal(new, generate(bridge, PROMPTS, 6))


def test_a_pass_with_a_cache_of_the_prompt_adds_at_every_new_position(bridge, vector):
    """Several positions at once after a cached prompt: all are after it."""
    model, cache = bridge.original_model, DynamicCache(config=bridge.original_model.config)
    later = torch.tensor([[3, 4, 5]] * 3)
    found = []
    with torch.inference_mode(), steered(bridge, [Addition(HOOK, vector, 1.0)], 5):
        model(torch.from_numpy(PROMPTS), past_key_values=cache, use_cache=True)
        with bridge.hooks(fwd_hooks=[(HOOK, lambda value, **_: found.append(value.clone()))]):
            model(later, past_key_values=cache, use_cache=True)
    whole = np.hstack([PROMPTS, later.numpy()])
    expected = _caught(bridge, whole, [HOOK], [Addition(HOOK, vector, 1.0)])[HOOK][:, 5:]
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-4)


def test_hooks_are_removed_even_after_an_error(bridge, vector):
    plain = _run(bridge, PROMPTS)
    with pytest.raises(RuntimeError), steered(bridge, [Addition(HOOK, vector)], 5):
        raise RuntimeError
    generate(bridge, PROMPTS, 2, [Addition(HOOK, vector)])
    assert torch.equal(_run(bridge, PROMPTS), plain)
    assert not bridge.original_model.base_model._forward_pre_hooks


def test_bad_additions_are_one_line(bridge, vector):
    for addition, message in (
        (Addition("blocks.9.hook_resid_post", vector), r"no hook 'blocks.9.hook_resid_post'"),
        (Addition(HOOK, vector, 1.0, "first"), "where is 'first', expected one of: last"),
        (Addition(HOOK, vector * np.nan), "NaN"),
        (Addition(HOOK, vector[:5]), r"shape \(5,\) does not fit 3 rows of width 16"),
        (Addition(HOOK, np.ones((2, 16))), r"shape \(2, 16\) does not fit 3 rows"),
    ):
        with pytest.raises(InputError, match=message):
            generate(bridge, PROMPTS, 1, [addition])


def test_sampling_depends_on_the_numbers_alone(bridge):
    uniform = np.random.default_rng(0).random((3, 5))
    uniform[2] = uniform[0]
    one = generate(bridge, PROMPTS, 5, uniform=uniform)
    np.testing.assert_array_equal(one, generate(bridge, PROMPTS, 5, uniform=uniform))
    np.testing.assert_array_equal(one[0], one[2])
    first = begin(bridge, PROMPTS)[0].softmax(-1).double().cumsum(-1)
    for row in range(3):
        assert one[row, 0] == int((first[row] <= uniform[row, 0]).sum())


def test_score_is_the_log_ratio_of_probabilities():
    logits = np.log(np.array([[0.1, 0.2, 0.3, 0.4]]))
    score = word_score(logits, (np.array([0, 1]), np.array([3])))
    assert score == pytest.approx(np.log(0.3 / 0.4))
    shifted = word_score(logits + 7, (np.array([0, 1]), np.array([3])))
    assert shifted == pytest.approx(score)


def test_unembedding_direction_raises_the_score(bridge):
    """Planted: a vector along the difference of two words' rows, added before the unembedding."""
    weight = bridge.original_model.get_output_embeddings().weight.detach().numpy()
    vector = weight[20] - weight[30]
    words = np.array([20]), np.array([30])
    table = dose_response(
        bridge, {"planted": (LAST, vector / np.linalg.norm(vector))},
        Task(list(PROMPTS[:2]), words), [-5, 0, 5],
    )  # fmt: skip
    change: Any = table.groupby("multiplier")["score_change"].mean()
    assert change[-5] < -1
    assert change[0] == pytest.approx(0, abs=1e-5)
    assert change[5] > 1
    assert table.columns.to_list() == [
        "vector", "hook", "multiplier", "prompt", "score", "score_change",
    ]  # fmt: skip


def test_trials_of_many_lengths_and_hooks_are_as_one_by_one(bridge, vector):
    prompts = [PROMPTS[0], PROMPTS[1][:3], PROMPTS[1]]
    trials = [
        Trial(prompt, WORDS, hook, scale * vector)
        for prompt in prompts for hook in (HOOK, LAST) for scale in (0, 1)
    ]  # fmt: skip
    writing = Writing(n_new=4, stop=frozenset(), seed=0)
    together = measure(bridge, trials, writing=writing, batch_rows=5)
    for i, trial in enumerate(trials):
        alone = measure(bridge, [trial], writing=writing)
        assert together.score[i] == pytest.approx(alone.score[0], abs=1e-3)
        additions = [Addition(trial.hook, trial.vector)]
        new = generate(bridge, trial.prompt[None], 4, additions)
        np.testing.assert_array_equal(together.tokens["greedy"][i], new[0])
    assert not np.array_equal(together.tokens["greedy"], together.tokens["sampled"])


def test_price_is_the_loss_of_the_plain_model_up_to_the_stop(bridge):
    new = np.array([[3, 4, 9], [6, 7, 8], [3, 4, 50]])
    logits = _run(bridge, np.hstack([PROMPTS, new])).double().log_softmax(-1)
    losses = -np.array([[logits[i, 4 + j, new[i, j]] for j in range(3)] for i in range(3)])
    found = continuation_ce(bridge, list(PROMPTS), new, frozenset({4}))
    expected = [losses[0, :2].mean(), losses[1].mean(), losses[2, :2].mean()]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_price_of_the_models_own_greedy_text_is_below_that_of_noise(bridge, vector):
    task = Task([PROMPTS[0], PROMPTS[1][:4]], WORDS)
    writing = Writing(n_new=6, stop=frozenset(), seed=0)
    table = dose_response(bridge, {"v": (HOOK, vector)}, task, [0, 50], writing=writing)
    plain, strong = (table[table["multiplier"] == m] for m in (0, 50))
    np.testing.assert_allclose(plain[["ce_greedy_change", "ce_sampled_change"]], 0, atol=1e-6)
    assert np.min(strong["ce_greedy_change"]) > 0


def test_vectors_are_taken_at_the_last_position(bridge):
    prompts = [PROMPTS[0], PROMPTS[1][:3]]
    found = last_activations(bridge, prompts, [HOOK, "blocks.1.mlp.hook_post"])
    for row, prompt in enumerate(prompts):
        whole = _caught(bridge, prompt[None], [HOOK])[HOOK]
        np.testing.assert_allclose(found[HOOK][row], whole[0, -1], atol=1e-5)
    assert found["blocks.1.mlp.hook_post"].shape == (2, 24)


def test_planted_directions_are_found(rng):
    truth = np.array([0, 3, 0, 4.0])
    base = rng.standard_normal((50, 4))
    positive, negative = base + truth, base
    np.testing.assert_allclose(difference_of_means(positive, negative), truth)
    np.testing.assert_allclose(principal_direction(positive, negative), truth)
    np.testing.assert_allclose(principal_direction(negative, positive), -truth)
    one = principal_direction(positive[:1], negative[:1])
    np.testing.assert_allclose(one, difference_of_means(positive[:1], negative[:1]))
    # Pairs of changing sign: their mean is short, their axis is still the planted one.
    noisy = base + rng.standard_normal((50, 1)) * truth + 0.1 * truth
    direction = principal_direction(noisy, base) / 5
    mean = np.linalg.norm(difference_of_means(noisy, base))
    np.testing.assert_allclose(np.abs(direction @ truth), mean, rtol=1e-6)


def test_random_vectors_are_as_long_and_have_no_direction(rng):
    drawn = random_like(np.array([3.0, 0, 4, 0]), 4000, rng)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 5)
    assert np.abs(drawn.mean(axis=0)).max() < 0.15
