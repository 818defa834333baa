import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from universality.core.alignment import align
from universality.core.errors import InputError

TEXTS = ["Once upon a time, a little cat met a dog.", "Lily said: “hé ☃!” 日本 😀", "aaaa"]


def arrays(tokens):
    """(document, end) of a list of documents, each a list of ends."""
    document = np.repeat(np.arange(len(tokens)), [len(ends) for ends in tokens])
    return document, np.array([end for ends in tokens for end in ends], dtype=np.int32)


segmentation = st.lists(st.lists(st.integers(0, 12), max_size=15).map(sorted), max_size=4)


@given(segmentation, segmentation)
def test_agrees_with_the_definition(a, b):
    document_a, end_a = arrays(a)
    document_b, end_b = arrays(b)
    found = align(document_a, end_a, document_b, end_b)
    if np.array_equal(document_a, document_b) and np.array_equal(end_a, end_b):
        expected = [(row, row) for row in range(len(end_a))]
        assert found.share_a == found.share_b == 1
    else:
        last_a, last_b = (
            {(d, e): row for row, (d, e) in enumerate(zip(*side, strict=True))}
            for side in ((document_a, end_a), (document_b, end_b))
        )
        expected = sorted((last_a[key], last_b[key]) for key in last_a.keys() & last_b.keys())
        assert found.share_a == pytest.approx(len(expected) / max(1, len(end_a)))
        assert found.share_b == pytest.approx(len(expected) / max(1, len(end_b)))
    assert list(zip(found.rows_a, found.rows_b, strict=True)) == expected


@given(segmentation)
def test_equal_tokenizations_give_the_identity(tokens):
    found = align(*arrays(tokens), *arrays(tokens))
    np.testing.assert_array_equal(found.rows_a, np.arange(len(arrays(tokens)[1])))
    np.testing.assert_array_equal(found.rows_b, found.rows_a)
    assert found.share_a == found.share_b == 1


def test_by_hand():
    # "the cat": A reads the| c|a|t, B reads th|e cat, with a character of two bytes after it in A.
    found = align(*arrays([[3, 5, 6, 7, 8, 8]]), *arrays([[2, 7, 8]]))
    assert found.rows_a.tolist() == [3, 5]
    assert found.rows_b.tolist() == [1, 2]
    assert found.share_a == pytest.approx(2 / 6)


def test_documents_are_not_mixed_up():
    found = align(*arrays([[4], [9]]), *arrays([[9], [4, 9]]))
    assert found.rows_a.tolist() == [1]
    assert found.rows_b.tolist() == [2]


def test_rows_out_of_order_are_an_error():
    with pytest.raises(InputError, match="tokens of B: row 1 "):
        align(*arrays([[1, 2]]), np.array([0, 0]), np.array([5, 3]))


def bpe(vocab_size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([TEXTS[0]] * 3 + [TEXTS[2]], trainer)
    return [[end for _, end in tokenizer.encode(text).offsets] for text in TEXTS]


def test_real_tokenizers_have_read_the_same_text():
    characters, words = bpe(256), bpe(330)
    assert sum(map(len, words)) < sum(map(len, characters))
    found = align(*arrays(characters), *arrays(words))
    for rows, tokens in ((found.rows_a, characters), (found.rows_b, words)):
        assert (np.diff(rows) > 0).all()
        document, end = arrays(tokens)
        read = [TEXTS[d][:e] for d, e in zip(document[rows], end[rows], strict=True)]
        if tokens is characters:
            expected = read
    assert read == expected
    # Characters are the finer tokenization: every end of a word token is also theirs.
    ends = {(d, e) for d, e in zip(*arrays(words), strict=True)}
    assert len(found.rows_b) == len(ends)
