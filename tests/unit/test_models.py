import numpy as np
import pytest
import torch

from universality.core.corpora import Tokens, load_tokens
from universality.core.errors import InputError
from universality.core.models import document_losses, new_model, train, train_tokenizer
from universality.core.ngrams import bigram_losses, unigram_losses


def _tokens(documents: list[list[int]]) -> Tokens:
    lengths = [len(d) for d in documents]
    ids = np.concatenate([np.array(d, dtype=np.int32) for d in documents])
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    zero = np.zeros(len(ids), dtype=np.int32)
    return Tokens(ids, zero, zero, zero.astype(bool), np.arange(len(documents)), bounds)


def test_document_losses_are_those_of_each_document_alone(plain_bridge, tokens):
    sums, counts = document_losses(plain_bridge, tokens, 128)
    for index in range(tokens.n_documents):
        ids = torch.from_numpy(tokens.ids[tokens.bounds[index] : tokens.bounds[index + 1]]).long()
        with torch.inference_mode():
            logits = plain_bridge.original_model(ids[None]).logits[0].double()
        expected = -logits.log_softmax(-1)[torch.arange(len(ids) - 1), ids[1:]].sum()
        assert sums[index] == pytest.approx(float(expected), rel=1e-4)
        assert counts[index] == len(ids) - 1


def test_training_learns_and_repeats_bit_for_bit(tiny_model, tiny_corpus, small):
    tokens = load_tokens(tiny_corpus, "train", tiny_model, small.context)
    held_out = load_tokens(tiny_corpus, "validation", tiny_model, small.context)
    logs = [train(new_model(small, 0), tokens, held_out, small, 0) for _ in range(2)]
    assert logs[0].equals(logs[1])
    assert logs[0]["tokens"].iloc[-1] >= small.n_tokens
    assert np.log(small.vocab_size) == pytest.approx(logs[0]["loss"].iloc[0], abs=0.7)
    assert logs[0]["validation_loss"].iloc[-1] < 4.5 < logs[0]["loss"].iloc[0]
    other = train(new_model(small, 1), tokens, held_out, small, 1)
    assert not np.array_equal(other["loss"], logs[0]["loss"])


def test_checkpoints_are_the_model_on_its_way(tiny_model, tiny_corpus, small):
    tokens = load_tokens(tiny_corpus, "train", tiny_model, small.context)
    plan = small.model_copy(update={"checkpoints": [0.6, 0.2]})
    model, kept = new_model(small, 0), {}

    def keep(share):
        kept[share] = next(model.parameters()).detach().clone()

    log = train(model, tokens, tokens, plan, 0, keep)
    assert list(kept) == [0.2, 0.6]
    assert not torch.equal(kept[0.2], kept[0.6])
    assert not torch.equal(kept[0.6], next(model.parameters()))
    plain = train(new_model(small, 0), tokens, tokens, small, 0)
    assert log.equals(plain)


def test_heads_must_divide_the_width(small):
    with pytest.raises(InputError, match=r"small_model\.n_heads is 3"):
        new_model(small.model_copy(update={"n_heads": 3}), 0)


def test_tokenizer_repeats(tiny_corpus):
    from universality.core.corpora import read_corpus

    texts = read_corpus(tiny_corpus, "train")[1]
    assert train_tokenizer(texts, 320).to_str() == train_tokenizer(texts, 320).to_str()


def test_unigram_by_hand():
    train_, held_out = _tokens([[0, 1, 1, 2]]), _tokens([[0, 1], [0, 2, 3]])
    losses = unigram_losses(train_, held_out, 4)
    # counts of predicted tokens + 1: 0:1, 1:3, 2:2, 3:1 of 7
    np.testing.assert_allclose(losses, [-np.log(3 / 7), -np.log(2 / 7) - np.log(1 / 7)])


def test_bigram_by_hand():
    train_, held_out = _tokens([[0, 1, 2], [0, 1, 1]]), _tokens([[0, 1], [0, 2], [3, 2]])
    uni = np.array([1, 4, 2, 1]) / 8
    expected = [
        (2 - 0.75) / 2 + 0.75 * 1 / 2 * uni[1],  # 0 -> 1 seen twice, one kind
        0.75 * 1 / 2 * uni[2],  # 0 -> 2 never seen
        uni[2],  # 3 never seen first
    ]
    np.testing.assert_allclose(bigram_losses(train_, held_out, 4), -np.log(expected))


def test_bigram_distribution_sums_to_one():
    random = np.random.default_rng(0)
    train_ = _tokens([random.integers(0, 6, 40).tolist() for _ in range(3)])
    for first in range(6):
        held_out = _tokens([[first, second] for second in range(6)])
        assert np.exp(-bigram_losses(train_, held_out, 6)).sum() == pytest.approx(1)
