from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from dashboard_section import HOOK, SECTION

from universality.core.contexts import Positions, positions, top_rows
from universality.core.errors import InputError
from universality.core.params.base import validate
from universality.studies.saes.pages.dashboard import (
    choose_features,
    firing,
    quantile_rows,
    token_use,
)
from universality.studies.saes.pages.dashboard_content import decoder_logits, nearest, token_name
from universality.studies.saes.params.dashboards import Dashboard


def _params(**changes) -> Dashboard:
    return validate(Dashboard, SECTION | changes, "dashboards.x")


def _table(rows: list[tuple[int, int, int, int, int, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["document", "position", "start", "end", "token", "piece"])


def _at(lengths: list[int]) -> Positions:
    """Documents 10, 11, ... of the given lengths, token ids counting from 0, text `t0`, `t1`."""
    n = sum(lengths)
    index = np.repeat(np.arange(len(lengths)), lengths)
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    position = np.arange(n) - bounds[index] + 1
    return Positions(index + 10, index, position, np.arange(n), [f"t{i}" for i in range(n)], bounds)


# Positions and their text.


def test_tokens_show_their_text_and_bytes_their_piece():
    table = _table([
        (7, 1, 0, 2, 5, "▁Hi"), (7, 2, 3, 4, 6, "▁a"),  # the offsets skip the space at 2
        (7, 3, 4, 5, 7, "<0xC3>"), (7, 4, 4, 5, 8, "<0xA9>"),  # the two bytes of é
        (8, 1, 0, 0, 9, "▁"), (8, 2, 0, 1, 9, "x"),
    ])  # fmt: skip
    at = positions(table, {7: "Hi aé", 8: "x"})
    assert at.shown == ["Hi", " a", "<0xC3>", "é", "▁", "x"]
    assert at.index.tolist() == [0, 0, 0, 0, 1, 1]
    assert at.bounds.tolist() == [0, 4, 6]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(7, 0, 0, 0, 1, "<s>"), (7, 1, 0, 2, 5, "Hi")], "document 7, its BOS; .*mask_special"),
        ([(7, 1, 0, 3, 5, "Hi!")], "document 7 has 2 characters .* ends at 3: .* another corpus"),
        ([(9, 1, 0, 2, 5, "Hi")], "document 9 has 0 characters"),
        ([(7, 2, 1, 2, 5, "i"), (7, 1, 0, 1, 5, "H")], "reading order"),
        ([], "no rows"),
    ],
)
def test_positions_that_cannot_be_shown(rows, message):
    with pytest.raises(InputError, match=message):
        positions(_table(rows), {7: "Hi"})


# Which features, which examples.


def test_features_are_chosen_by_rank_list_and_chance():
    density = np.array([0.5, 0, 0.1, 0.3, 0.2, 0])
    # Densities that fire: .1 .2 .3 .5; half way is rounded to the even place, the third.
    assert choose_features(density, _params(listed=[5, 3], n_by_density=3)) == {
        0: "density rank 100% of those that fire",
        2: "density rank 0% of those that fire",
        3: "listed, density rank 50% of those that fire",
        5: "listed",
    }
    everything = choose_features(density, _params(listed=[], n_random=6))
    assert everything == dict.fromkeys(range(6), "drawn at random")
    assert list(choose_features(density * 0, _params(listed=[1], n_by_density=3))) == [1]
    with pytest.raises(InputError, match="names feature 6; the SAE has 6"):
        choose_features(density, _params(listed=[6]))


def test_some_feature_must_be_chosen():
    with pytest.raises(InputError, match=r"dashboards\.x: .*no feature is chosen"):
        _params(listed=[])


def test_top_rows_are_the_highest_of_all_one_per_document():
    document = np.array([0, 0, 0, 1, 1, 2, 2])
    rows = np.array([0, 2, 3, 4, 6])
    values = np.array([5.0, 9.0, 1.0, 4.0, 4.0])
    assert top_rows(rows, values, document, 5).tolist() == [2, 4, 6]
    assert top_rows(rows, values, document, 2).tolist() == [2, 4]
    # An argmax over zeros would give position 0.
    assert top_rows(rows[:0], values[:0], document, 2).tolist() == []


def test_quantile_intervals_part_the_firing_positions():
    random = np.random.default_rng(0)
    document = np.repeat(np.arange(20), 10)
    rows = np.sort(random.choice(200, 101, replace=False))
    values = random.gamma(2.0, size=101)
    parts = quantile_rows(rows, values, document, 4, 3, random)
    assert sorted(np.concatenate([part for part, _ in parts])) == rows.tolist()
    assert sorted(len(part) for part, _ in parts) == [25, 25, 25, 26]
    of = dict(zip(rows.tolist(), values.tolist(), strict=True))
    lows = [min(of[row] for row in part.tolist()) for part, _ in parts]
    highs = [max(of[row] for row in part.tolist()) for part, _ in parts]
    assert all(low > high for low, high in zip(lows, highs[1:], strict=False))
    for part, sampled in parts:
        assert set(sampled) <= set(part)
        assert len(set(document[sampled])) == len(sampled) == 3


def test_quantile_samples_do_not_favour_high_activations():
    rows = np.arange(1000)
    values = np.exp(np.random.default_rng(1).normal(size=1000))
    random = np.random.default_rng(2)
    draws = [
        values[sampled]
        for _ in range(200)
        for _, sampled in quantile_rows(rows, values, rows, 5, 3, random)
    ]
    assert np.mean(draws) == pytest.approx(values.mean(), rel=0.05)


def test_firing_of_planted_features():
    """Feature 0 fires on three tokens, 1 on one, 2 never; documents have 4 and 3 tokens."""
    dense = np.zeros((7, 3))
    dense[[1, 2, 5], 0] = [2, 8, 4]
    dense[6, 1] = 1.5
    at = _at([4, 3])
    one, other, dead = firing(
        sp.csc_matrix(dense), at, {0: "a", 1: "b", 2: "c"}, _params(context=1)
    )
    assert (one.n, one.density) == (3, 3 / 7)
    # Resamples take documents: both (3/7), the first twice (2/4) or the second twice (1/3).
    assert one.density_interval == pytest.approx((1 / 3, 1 / 2))
    assert [(e.document, e.position, e.value) for e in one.top] == [(10, 3, 8.0), (11, 2, 4.0)]
    assert one.top[0].tokens == [("t1", 2.0), ("t2", 8.0), ("t3", 0.0)]
    assert (one.top[0].peak, one.top[0].cut) == (1, (True, False))
    assert [(i.quantiles, i.values, i.n) for i in one.intervals] == [
        ((0.5, 1.0), (8.0, 8.0), 1),
        ((0.0, 0.5), (2.0, 4.0), 2),
    ]
    assert one.histogram[0].sum() == 3
    assert one.histogram[1][[0, -1]].tolist() == [0, 8]
    # The window ends at the document's end.
    assert other.top[0].tokens == [("t5", 0.0), ("t6", 1.5)]
    assert [i.quantiles for i in other.intervals] == [(0.0, 1.0)]
    assert (dead.n, dead.density, dead.top, dead.intervals, dead.tokens) == (0, 0, [], [], [])
    assert dead.histogram[0].sum() == 0


def test_token_use():
    tokens = np.array([4, 4, 4, 4, 9, 9, 2, 2, 2, 2])
    occurrences = np.unique(tokens, return_counts=True)
    uses = token_use(np.array([9, 4, 9]), occurrences)
    assert [(use.token, use.share, use.baseline, use.fires) for use in uses] == [
        (9, 2 / 3, 0.2, 1.0),
        (4, 1 / 3, 0.4, 0.25),
    ]


# What features write.


def _bridge(norm: torch.nn.Module, bias: float = 0.0) -> SimpleNamespace:
    unembed = torch.nn.Linear(4, 3)
    with torch.no_grad():
        unembed.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 3]]))
        unembed.bias.fill_(bias)
    return SimpleNamespace(ln_final=norm, unembed=unembed)


def test_logits_by_hand():
    rms = torch.nn.RMSNorm(4, eps=0.0)
    layer = torch.nn.LayerNorm(4, eps=0.0)
    with torch.no_grad():
        rms.weight.copy_(torch.tensor([1.0, 5, 1, 1]))
        layer.bias.fill_(7)  # with the unembedding's bias part of the empty stream's logits
    direction = np.array([[3.0, 4, 0, 0]])  # of root mean square 2.5
    expected = np.array([1.2, 2 * 5 * 1.6, 0])
    rms_bridge = _bridge(torch.nn.Sequential(rms, _Finite()), bias=3.0)
    logits = decoder_logits(rms_bridge, direction, HOOK)
    assert logits == pytest.approx((expected - expected.mean())[None], abs=1e-5)
    # LayerNorm centres: (1.25, 2.25, -1.75, -1.75) of standard deviation 1.785.
    expected = np.array([1.25, 2 * 2.25, 3 * -1.75]) / 3.1875**0.5
    layer_bridge = _bridge(torch.nn.Sequential(layer, _Finite(7.0)), bias=-1.0)
    logits = decoder_logits(layer_bridge, direction, HOOK)
    assert logits == pytest.approx((expected - expected.mean())[None], abs=1e-5)


class _Finite(torch.nn.Module):
    """Norms without epsilon give 0 / 0 on an empty residual stream."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.nan_to_num(self.value)


def test_logits_find_the_planted_token(plain_bridge):
    unembedding = plain_bridge.original_model.lm_head.weight.detach().numpy()
    rows = unembedding[[17, 250]]
    for hook in (HOOK, "blocks.0.hook_resid_post", "blocks.1.mlp.hook_out"):
        logits = decoder_logits(plain_bridge, rows, hook)
        assert logits is not None
        assert logits.argmax(1).tolist() == [17, 250]
        assert logits.mean(1) == pytest.approx([0, 0], abs=1e-5)
        doubled = decoder_logits(plain_bridge, 2 * rows, hook)  # the scale of a row says nothing
        assert doubled == pytest.approx(logits, abs=1e-4)


def test_logits_of_neurons_go_through_their_output_matrix(plain_bridge):
    matrix = plain_bridge.original_model.model.layers[1].mlp.down_proj.weight.detach().numpy()
    neurons = np.eye(24)[[3, 20]]
    logits = decoder_logits(plain_bridge, neurons, "blocks.1.mlp.hook_post")
    assert logits == pytest.approx(decoder_logits(plain_bridge, matrix.T[[3, 20]], HOOK), abs=1e-4)
    assert decoder_logits(plain_bridge, np.eye(16), "blocks.1.attn.hook_z") is None


def test_nearest_features():
    decoder = np.array([[1.0, 0], [0.8, 0.6], [-1, 0], [0, 1]])
    assert nearest(decoder, 0, 2) == [(1, 0.8), (3, 0.0)]
    assert len(nearest(decoder, 0, 10)) == 3


def test_token_names_keep_their_space(tiny_model):
    from universality.core.corpora import load_tokenizer

    tokenizer, _ = load_tokenizer(tiny_model)
    ids = tokenizer.encode(" the", add_special_tokens=False).ids
    assert "".join(token_name(tokenizer, i) for i in ids) == " the"
    byte = tokenizer.token_to_id("Ã")  # the first byte of two
    assert token_name(tokenizer, byte) == "Ã"
    assert token_name(tokenizer, 0) == "<s>"
    assert token_name(tokenizer, 10**6) == "[1000000]"
