import json

import numpy as np
import pytest
import scipy.sparse as sp

from universality.core.corpora import read_corpus
from universality.core.errors import InputError
from universality.core.stats import kept_documents
from universality.sources.wordnet import read_synsets
from universality.studies.hierarchy.stages.gloss_corpus import command as gloss_corpus
from universality.studies.matching.dense import match_neurons
from universality.studies.matching.other_text import carried_over, carried_row
from universality.studies.matching.pairings import Partners
from universality.studies.matching.study import Sample, match_layers

N = 600


def sample_of(n=N, size=20):
    documents = np.repeat(np.arange(n // size), size)
    kept = kept_documents(n // size, 10, np.random.default_rng(0))
    return Sample(documents, np.array([140, 301]), kept, min_count=5)


def sparse(rng, n=N, d=6):
    return np.where(rng.random((n, d)) < 0.3, rng.random((n, d)), 0)


def test_neurons_are_matched_as_features_are():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(N, 70))
    b = np.hstack([a[:, ::-1] + 0.3 * rng.normal(size=(N, 70)), rng.normal(size=(N, 5))])
    a[:, 3] = 2
    b[:, 7] = -1
    sample = sample_of()
    found = match_neurons(a.astype(np.float32), b.astype(np.float32), sample, (1, 2))
    expected = match_layers(sp.csr_matrix(a), sp.csr_matrix(b), sample, (1, 2))
    for mine, theirs in (
        (found.forward, expected.forward),
        (found.backward, expected.backward),
        (found.null_forward[1], expected.null_forward[1]),
        (found.null_backward[0], expected.null_backward[0]),
    ):
        np.testing.assert_array_equal(mine.partner, theirs.partner)
        np.testing.assert_allclose(mine.r, theirs.r, atol=1e-5)
    np.testing.assert_array_equal(found.alive_a, expected.alive_a)
    assert found.forward.partner[3] == -1
    np.testing.assert_allclose(found.left_out_r, expected.left_out_r, atol=1e-4)
    assert (found.layer_a, found.layer_b) == (1, 2)


def test_partners_that_hold_on_another_text_and_partners_that_do_not():
    rng = np.random.default_rng(1)
    a = sparse(rng)
    b = np.hstack([a[:, :3] + 0.01 * (a[:, :3] > 0), sparse(rng, d=4)])
    a[:, 5] = 0
    known = Partners(np.array([0, 1, 2, 3, 4, 5, -1])[:6], np.full(6, 0.9))
    known.partner[4] = -1
    carried = carried_over(sp.csr_matrix(a), sp.csr_matrix(b), known, sample_of())
    assert carried.n_known == 5
    assert len(carried.first_r) == 4  # one has no partner, one is silent here
    np.testing.assert_allclose(carried.r[0, :3], 1, atol=0.01)
    assert abs(carried.r[0, 3]) < 0.2
    assert carried.same[0].tolist()[:3] == [True] * 3
    row = carried_row([carried, carried], 0.7)
    assert (row["n_known"], row["n_pairs"]) == (10, 8)
    assert row["share_above"] == 0.75
    assert row["share_above_first"] == 1
    assert row["share_above_null"] == 0
    assert row["median_r"] == pytest.approx(1, abs=0.01)
    assert abs(row["median_r_null"]) < 0.2
    assert row["median_r"] > row["median_r_null_high"]
    assert row["share_above_low"] <= 0.75 <= row["share_above_high"] <= 1
    assert row["same_partner"] >= 0.75 > 0.5 > row["same_partner_null"]
    held = np.corrcoef(a[:, 3], b[:, 3])[0, 1]
    assert carried.r[0, 3] == pytest.approx(held, abs=1e-9)


def test_nothing_carried_over_is_counted_as_such():
    rng = np.random.default_rng(2)
    a, b = sp.csr_matrix(sparse(rng)), sp.csr_matrix(sparse(rng))
    carried = carried_over(a, b, Partners(np.full(6, -1), np.zeros(6)), sample_of())
    assert carried_row([carried], 0.7) == {"n_known": 0, "n_pairs": 0}


LINES = """  1 This is the licence
00000001 05 n 02 wild_dog 0 canis 0 001 @ 00000009 n 0000 | a dog that is wild; "it barked"
00000002 05 n 01 cat 0 000 | a cat; small
00000003 05 n 0a a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 j 0 000 | many
00000004 13 n 01 bread 0 000 | food
00000005 13 n 01 cake 0 000 | sweet food
00000006 13 n 01 pie 0 000 | a crust
00000007 13 n 01 jam 0 000 | fruit
"""


def test_synsets_by_hand(tmp_path):
    path = tmp_path / "data.noun"
    path.write_text(LINES)
    found = list(read_synsets(path))
    assert found[0].words == ["wild dog", "canis"]
    assert found[0].definition == "a dog that is wild"
    assert found[1].definition == "a cat; small"
    assert found[2].words == list("abcdefghij")
    assert [synset.file for synset in found] == [5, 5, 5, 13, 13, 13, 13]
    for bad in ("not a synset\n", "00000001 05 n 02 dog 0 | cut\n", "00000001 05 n 01 dog 0 000\n"):
        path.write_text(LINES + bad)
        with pytest.raises(InputError, match="line 9"):
            list(read_synsets(path))


def test_documents_of_glosses_keep_to_one_topic(tmp_path):
    path, params, out = tmp_path / "data.noun", tmp_path / "params.yaml", tmp_path / "out"
    path.write_text(LINES)
    section = {"artifact": "nouns", "n_documents": 3, "n_synsets": 2, "validation_fraction": 0.5}
    section |= {"seed": 0, "n_documents": 4}
    params.write_text(json.dumps({"gloss_corpora": {"glosses": section}}))
    with pytest.raises(InputError, match=r"n_documents is 4; .* makes 3 documents of 2"):
        gloss_corpus("glosses", path, out, params)
    assert not out.exists()
    path.write_text(LINES + "00000008 05 n 01 owl 0 000 | a bird\n00000009 05 n 01 hen 0 000 | x\n")
    gloss_corpus("glosses", path, out, params)
    texts = [text for split in ("train", "validation") for text in read_corpus(out, split)[1]]
    assert sorted(texts) == [
        "bread: food. cake: sweet food.", "owl: a bird. hen: x.", "pie: a crust. jam: fruit.",
        "wild dog: a dog that is wild. cat: a cat; small.",
    ]  # fmt: skip
