"""Hierarchical concepts: WordNet's graph, words as tokens, vectors, and what is claimed of them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr
from sklearn.covariance import ledoit_wolf
from tokenizers import Tokenizer
from tokenizers.models import BPE

from universality.core.errors import InputError
from universality.core.models import train_tokenizer
from universality.sources.wordnet import Synset, read_senses, read_synsets
from universality.studies.hierarchy.claims import (
    _outside,
    closeness,
    closeness_correlation,
    family,
    from_parents,
    held_out,
    largest_parts,
    overlaps,
    random_children,
    siblings,
    to_grandparent,
    to_parent,
    tree_order,
    unit,
)
from universality.studies.hierarchy.graph import (
    Concepts,
    build,
    closures,
    general_first,
    merged,
    renumbered,
    restricted,
    synset_names,
)
from universality.studies.hierarchy.vectors import (
    Estimator,
    Moments,
    concept_vector,
    concept_vectors,
    cosines,
    shared_moments,
    whitening,
)
from universality.studies.hierarchy.words import forms, single_tokens, tokens_of, word_forms

# The files of WordNet, as wndb(5WN) has them.

DATA = """  1 This software and database is being provided to you
00001740 03 n 01 entity 0 001 ~ 00015388 n 0000 | that which is perceived
00015388 03 n 02 animal 0 Beast 0 002 @ 00001740 n 0000 ~ 02084071 n 0000 | a living organism
02084071 05 n 03 Dog 0 domestic_dog 0 Canis_familiaris 0 002 @ 00015388 n 0000 @ 01317541 n 0000 \
| a member of the genus Canis; "the dog barked all night"
02084400 18 n 01 dog 2 002 @ 00001740 n 0000 + 00010435 v 0201 | a dull | unattractive girl
09886220 18 n 01 Laika 0 001 @i 02084071 n 0000 | a dog in space
"""
INDEX = """  1 This software and database is being provided to you
animal n 1 3 @ ~ + 1 1 00015388  
beast n 1 2 @ ~ 1 0 00015388  
dog n 2 5 @ ~ #m #p + 2 1 02084400 02084071  
domestic_dog n 1 4 @ ~ #m %p 1 0 02084071  
entity n 1 1 ~ 1 1 00001740  
laika n 1 1 @i 1 0 09886220  
"""  # noqa: W291


@pytest.fixture
def wordnet(tmp_path):
    data, index = tmp_path / "data.noun", tmp_path / "index.noun"
    data.write_text(DATA)
    index.write_text(INDEX)
    return data, index


def test_hypernyms_and_senses_by_hand(wordnet):
    synsets, senses = list(read_synsets(wordnet[0])), read_senses(wordnet[1])
    above = {synset.offset: synset.hypernyms for synset in synsets}
    assert above == {
        1740: [], 15388: [1740], 2084071: [15388, 1317541], 2084400: [1740], 9886220: [],
    }  # fmt: skip
    assert synsets[2].words == ["Dog", "domestic dog", "Canis familiaris"]
    assert synsets[3].definition == "a dull | unattractive girl"
    assert senses["dog"] == [2084400, 2084071]
    assert senses["domestic dog"] == [2084071]
    assert len(senses) == 6
    assert synset_names(synsets, senses, "n") == {
        1740: "entity.n.01", 15388: "animal.n.01", 2084071: "dog.n.02", 2084400: "dog.n.01",
        9886220: "laika.n.01",
    }  # fmt: skip
    spaced = [Synset(2084071, 5, ["domestic dog"], [], "")]
    assert synset_names(spaced, senses, "v") == {2084071: "domestic_dog.v.01"}


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        ("02085000 05 n 01 hen 0 002 @ 00015388 n 0000 ~ 0208", "cut off"),
        ("02085000 05 n 01 hen 0 001 @ 00015388 n 0000", "cut off"),
        ("02085000 05 n 02 hen 0", "is not a synset"),
        ("02085000 05 n 0g hen 0 000 | a bird", "is not a synset"),
        ("", "is not a synset"),
    ],
)
def test_a_cut_data_file_is_an_error(wordnet, cut, message):
    wordnet[0].write_text(DATA + cut + "\n")
    with pytest.raises(InputError, match=rf"data\.noun: line 7 .*{message}"):
        list(read_synsets(wordnet[0]))


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        ("hen n 2 3 @ ~ + 2 1 02085000", "cut off"),
        ("hen n 4 1 @ 4 1 02085000 02085001", "cut off"),  # "4 1" are no offsets
        ("hen n 1 3 @ ~", "cut off"),
        ("hen n 1 1 @ 1 0 0208x", "is not a word of an index"),
        ("hen n", "is not a word of an index"),
        ("", "is not a word of an index"),
    ],
)
def test_a_cut_index_is_an_error(wordnet, cut, message):
    wordnet[1].write_text(INDEX + cut + "\n")
    with pytest.raises(InputError, match=rf"index\.noun: line 8 .*{message}"):
        read_senses(wordnet[1])


# The graph of concepts.


def synset(offset, hypernyms, words=()):
    return Synset(offset, 3, [*words, f"w{offset}"], hypernyms, "")


@st.composite
def dags(draw):
    """Synsets in any order, the smallest offset above all; 0 to 3 tokens of each."""
    n = draw(st.integers(1, 12))
    synsets, tokens = [], {}
    for offset in range(n):
        above = draw(st.sets(st.integers(0, offset - 1), min_size=1, max_size=3)) if offset else ()
        synsets.append(synset(offset, list(above)))
        tokens[f"w{offset}"] = sorted(draw(st.sets(st.integers(0, 11), max_size=3)))
    return draw(st.permutations(synsets)), tokens


def under(synsets, offset):
    """A synset and all its hyponyms, by the definition."""
    found = {offset}
    for some in synsets:
        if offset in some.hypernyms:
            found |= under(synsets, some.offset)
    return found


def check(concepts, min_tokens):
    sets = [frozenset(some.tolist()) for some in concepts.members]
    assert len(set(sets)) == len(sets)
    for own, some in zip(sets, concepts.members, strict=True):
        assert len(own) > min_tokens
        assert some.tolist() == sorted(own)
    for child, parent in concepts.edges.tolist():
        assert parent < child
        assert sets[child] < sets[parent]
    assert concepts.names == [names[0] for names in concepts.merged]
    assert concepts.parents[0] == []
    np.testing.assert_array_equal(concepts.tokens, sorted(frozenset().union(*sets)))


def as_sets(concepts):
    """Nodes and edges whatever their order."""
    sets = [frozenset(some.tolist()) for some in concepts.members]
    nodes = {own: frozenset(names) for own, names in zip(sets, concepts.merged, strict=True)}
    return nodes, {(sets[child], sets[parent]) for child, parent in concepts.edges.tolist()}


@given(dags(), st.integers(0, 4))
def test_graphs_are_those_of_the_definition(dag, min_tokens):
    synsets, tokens = dag
    names = {some.offset: f"name{some.offset}" for some in synsets}
    ordered = general_first(synsets)
    place = {some.offset: number for number, some in enumerate(ordered)}
    assert sorted(place) == sorted(some.offset for some in synsets)
    assert all(place[above] < place[some.offset] for some in synsets for above in some.hypernyms)
    below = {offset: under(synsets, offset) for offset in names}
    of = {o: frozenset(t for part in below[o] for t in tokens[f"w{part}"]) for o in names}
    assert closures(ordered, tokens) == of
    large = {offset for offset, own in of.items() if len(own) > min_tokens}
    if not large:
        with pytest.raises(InputError, match=f"no concept has more than {min_tokens} tokens"):
            build(ordered, names, tokens, min_tokens)
        return
    concepts, counts = build(ordered, names, tokens, min_tokens)
    check(concepts, min_tokens)
    nodes, edges = as_sets(concepts)
    assert nodes == {
        of[offset]: frozenset(names[other] for other in large if of[other] == of[offset])
        for offset in large
    }
    assert edges == {
        (of[some.offset], of[above])
        for some in synsets if some.offset in large
        for above in some.hypernyms if of[some.offset] != of[above]
    }  # fmt: skip
    for first, *rest in concepts.merged:  # the name is of none that lies below another
        assert not any(int(first[4:]) in below[int(name[4:])] for name in rest)
    assert counts["concepts"] == len(concepts.names) <= counts["large_synsets"] == len(large)
    assert counts["synsets"] == len(synsets)
    assert counts["tokens"] == len(set().union(*tokens.values()))
    assert counts["synsets_with_tokens"] == sum(bool(own) for own in of.values())
    assert counts["edges"] == len(edges)


@given(dags(), st.sets(st.integers(0, 14)), st.integers(0, 1), st.integers(0, 2))
def test_a_restricted_graph_is_that_of_fewer_tokens(dag, kept, min_tokens, more):
    synsets, tokens = dag
    names = {some.offset: f"name{some.offset}" for some in synsets}
    ordered = general_first(synsets)
    fewer = {word: sorted(kept & set(some)) for word, some in tokens.items()}
    try:
        concepts, _ = build(ordered, names, tokens, min_tokens)
        expected, _ = build(ordered, names, fewer, min_tokens + more)
    except InputError:
        return
    found = restricted(concepts, np.array(sorted(kept)), min_tokens + more)
    check(found, min_tokens + more)
    assert as_sets(found) == as_sets(expected)


def test_a_node_of_several_synsets_comes_after_all_their_parents():
    # 1 is seen first, 3 has its tokens, and 2, which lies between 0 and 3, one more.
    synsets = [synset(0, []), synset(1, [0]), synset(2, [0]), synset(3, [2])]
    tokens = {"w0": [9], "w1": [5, 6], "w2": [7], "w3": [5, 6]}
    concepts, _ = build(general_first(synsets), dict(enumerate("abcd")), tokens, 1)
    assert concepts.merged == [["a"], ["c"], ["b", "d"]]
    assert concepts.parents == [[], [0], [0, 1]]
    assert concepts.chains.tolist() == [[2, 1, 0]]
    places = renumbered(concepts, np.array([2, 5, 6, 7, 9]))
    assert [some.tolist() for some in places.members] == [[1, 2, 3, 4], [1, 2, 3], [1, 2]]
    assert (places.names, places.merged, places.parents) == (
        concepts.names, concepts.merged, concepts.parents,
    )  # fmt: skip
    assert restricted(concepts, np.array([5, 6, 9]), 1).merged == [["a"], ["c", "b", "d"]]
    assert [concepts.find(name) for name in "abcd"] == [0, 2, 1, 2]
    with pytest.raises(InputError, match=r"no concept 'mammal\.n\.01'"):
        concepts.find("mammal.n.01")


def test_words_count_in_any_case_and_hypernyms_outside_do_not():
    synsets = [synset(4, [77], ["Dog"]), synset(8, [4], ["wild dog"])]
    tokens = {"dog": [3, 5], "wild dog": [8]}
    concepts, counts = build(general_first(synsets), {4: "dog", 8: "wild"}, tokens, 0)
    assert [some.tolist() for some in concepts.members] == [[3, 5, 8], [8]]
    assert concepts.parents == [[], [0]]
    assert (counts["words"], counts["words_with_tokens"]) == (4, 2)


def test_a_root_alone():
    concepts = merged([["entity"]], [[2, 1]], [[]], 1)
    assert concepts.edges.shape == (0, 2)
    assert concepts.chains.shape == (0, 3)
    alone = family(concepts, np.random.default_rng(0))
    assert alone.closeness.tolist() == [[1]]
    assert alone.largest_part.tolist() == [-1]
    assert len(alone.strangers) == len(alone.above_strangers) == 0
    with pytest.raises(InputError, match="no concept has more than 2 tokens"):
        merged([["entity"]], [[2, 1]], [[]], 2)


def test_hypernyms_in_a_circle_are_an_error():
    with pytest.raises(InputError, match="circle"):
        general_first([synset(1, []), synset(2, [1, 3]), synset(3, [2])])


# Words as tokens.

TEXTS = ["the dog and the dogs saw the Dog", "the cat, the cats; the naïve Cat"] * 5


@pytest.fixture(scope="session")
def of_models(stories15m_dir, stories260k_dir):
    paths = {"stories15m": stories15m_dir, "stories260k": stories260k_dir}
    found = {name: Tokenizer.from_file(str(p / "tokenizer.json")) for name, p in paths.items()}
    return found | {"bytes": train_tokenizer(TEXTS, 340)}


@pytest.mark.parametrize(
    ("name", "single", "several"),
    [
        ("stories15m", ["dog", "dogs", "Dog", "cat", "the"], ["wolfhound", "naïve"]),
        ("stories260k", ["mom", "day", "Lily"], ["dog", "days", "Mom"]),
        ("bytes", ["dog", "dogs", "Dog", "cats", "naïve"], ["frog", "Cats", "do"]),
    ],
)
def test_words_that_are_one_token(of_models, name, single, several):
    tokenizer = of_models[name]
    found = single_tokens(tokenizer, [*several, *single])
    assert sorted(found) == sorted(single)
    before = tokenizer.encode("the", add_special_tokens=False).ids
    for word, token in found.items():
        assert tokenizer.decode([*before, token]) == f"the {word}"
        assert tokenizer.id_to_token(token)[0] in "▁Ġ"  # with its space
    assert len(set(found.values())) == len(found)


def test_a_token_that_takes_part_of_the_word_before_is_no_words():
    pieces = ["t", "h", "e", " ", "a", "e ", "th", "the", "e a"]
    merges = [("e", " "), ("t", "h"), ("th", "e"), ("e ", "a")]
    across = Tokenizer(BPE({piece: token for token, piece in enumerate(pieces)}, merges))
    assert across.encode("the").tokens == ["the"]
    assert across.encode("the a").tokens == ["th", "e a"]
    assert single_tokens(across, ["a"]) == {}


def test_forms_by_hand(of_models):
    assert forms("dog", "dogs") == ["dog", "dogs", "Dog", "Dogs"]
    assert forms("sheep", "sheep") == ["sheep", "Sheep"]
    assert forms("run", None) == ["run", "Run"]
    variants = word_forms(["dog", "child", "wild dog", "frog"], nouns=True)
    assert variants == {
        "child": ["child", "children", "Child", "Children"],
        "dog": ["dog", "dogs", "Dog", "Dogs"],
        "frog": ["frog", "frogs", "Frog", "Frogs"],
    }
    tokenizer = of_models["bytes"]
    of = tokens_of(tokenizer, variants)
    assert sorted(tokenizer.decode([t]) for t in of["dog"]) == [" Dog", " dog", " dogs"]
    assert of["dog"] == sorted(of["dog"])
    assert of["frog"] == of["child"] == []
    assert word_forms(["dog"], nouns=False) == {"dog": ["dog", "Dog"]}


@settings(deadline=None, max_examples=30)
@given(dags(), st.integers(258, 330), st.lists(st.text("abAB", min_size=1, max_size=4), min_size=1))
def test_nesting_on_any_tokenizer(dag, vocab_size, words):
    synsets = [
        Synset(some.offset, 3, words[some.offset :: 5], some.hypernyms, "") for some in dag[0]
    ]
    tokenizer = train_tokenizer([f"the {word} " * 3 for word in words], vocab_size)
    variants = word_forms({word.lower() for some in synsets for word in some.words}, nouns=False)
    tokens = tokens_of(tokenizer, variants)
    names = {some.offset: str(some.offset) for some in synsets}
    ordered = general_first(synsets)
    of = closures(ordered, tokens)
    assert all(of[some.offset] <= of[above] for some in synsets for above in some.hypernyms)
    if any(of.values()):
        check(build(ordered, names, tokens, 0)[0], 0)


# Vectors.


def rows_of(rng, n, d, mean=1.0):
    """Rows with an uneven covariance and a mean."""
    return rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + mean * rng.random(d)


def test_whitened_rows_have_mean_zero_and_covariance_one(rng):
    rows = rows_of(rng, 500, 12)
    white = whitening(rows)
    g = white(rows)
    np.testing.assert_allclose(g.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(g.T @ g / 500, np.eye(12), atol=1e-9)
    np.testing.assert_allclose(white.root @ white.root_inverse, np.eye(12), atol=1e-9)
    np.testing.assert_allclose(white.root @ white.root, np.cov(rows.T, bias=True), atol=1e-9)
    np.testing.assert_allclose(white.root_inverse, white.root_inverse.T, atol=1e-12)
    single = whitening(rows.astype(np.float32))
    assert single.root.dtype == np.float64


def test_causal_inner_products_do_not_depend_on_the_basis(rng):
    rows, other = rows_of(rng, 300, 8), rows_of(rng, 8, 8)
    moved = rows @ other + 7
    a, b = whitening(rows)(rows), whitening(moved)(moved)
    np.testing.assert_allclose(a @ a.T, b @ b.T, atol=1e-8)
    members = [np.arange(40), np.arange(5), np.arange(30, 90)]
    a, b = concept_vectors(a, members), concept_vectors(b, members)
    np.testing.assert_allclose(a @ a.T, b @ b.T, atol=1e-8)
    plain = [whitening(some, causal=False)(some) for some in (rows, moved)]
    np.testing.assert_allclose(plain[0], rows - rows.mean(axis=0))
    assert not np.allclose(plain[0] @ plain[0].T, plain[1] @ plain[1].T, rtol=0.1)


def test_directions_without_variance_are_not_blown_up(rng):
    rows = rows_of(rng, 300, 6)
    rows[:, 5] = rows[:, 0]
    g = whitening(rows)(rows)
    variances = np.sort(np.linalg.eigvalsh(np.cov(g.T, bias=True)))
    np.testing.assert_allclose(variances, [0, 1, 1, 1, 1, 1], atol=1e-8)
    wide = rows_of(rng, 5, 9)  # of fewer rows than columns
    assert np.linalg.norm(whitening(wide)(wide), axis=1).max() <= np.sqrt(5)
    with pytest.raises(ValueError, match="all alike"):
        whitening(np.ones((4, 3)))


def plain_formula(rows, covariance):
    """Equation 8 as it is written."""
    mean = rows.mean(axis=0)
    direction = np.linalg.pinv(covariance, rcond=1e-10, hermitian=True) @ mean
    direction /= np.linalg.norm(direction)
    return (direction @ mean) * direction


@pytest.mark.parametrize("n", [2, 7, 19, 20, 21, 60])
def test_the_vector_of_a_concept_is_the_plain_formula(n, rng):
    rows = rows_of(rng, n, 20)
    if n > 2:
        assert 0 < ledoit_wolf(rows)[1] < 1
    for given_as in (rows, Moments.of(rows)):
        found = concept_vector(given_as)
        np.testing.assert_allclose(found, plain_formula(rows, ledoit_wolf(rows)[0]), rtol=1e-7)
        plain = plain_formula(rows, np.cov(rows.T, bias=True))
        np.testing.assert_allclose(concept_vector(given_as, "lda_unshrunk"), plain, rtol=1e-5)
        np.testing.assert_allclose(concept_vector(given_as, "mean"), rows.mean(axis=0))


@pytest.mark.parametrize("n", [2, 19, 20, 60])
@pytest.mark.parametrize("estimator", ["lda", "lda_unshrunk", "mean"])
def test_own_tokens_project_on_one(n, estimator, rng):
    rows = rows_of(rng, n, 20)
    vector = concept_vector(rows, estimator)
    assert (rows @ vector).mean() == pytest.approx(vector @ vector)


def test_no_shrinkage_and_whole_shrinkage():
    ones = np.ones(6)
    edge = 2 * np.eye(6)
    # All lie on one line: nothing is noise, and the covariance is 0 but along e0.
    line = ones + np.array([1, -1, 1, -1])[:, None] * edge[0]
    assert ledoit_wolf(line)[1] == 0
    np.testing.assert_array_equal(concept_vector(line), [1, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(concept_vector(Moments.of(line)), [1, 0, 0, 0, 0, 0])
    # The same variance everywhere: there is nothing to shrink.
    ball = np.ones(4) + np.concatenate([edge, -edge])[[0, 1, 2, 3, 6, 7, 8, 9], :4]
    assert ledoit_wolf(ball)[1] == 0
    np.testing.assert_allclose(concept_vector(ball), np.ones(4))
    # All of it: the covariance shrinks to a multiple of 1, and the vector is the mean.
    corners = np.eye(10)[:8]
    assert ledoit_wolf(corners)[1] == 1
    np.testing.assert_allclose(concept_vector(corners), corners.mean(axis=0))
    np.testing.assert_allclose(concept_vector(Moments.of(corners)), corners.mean(axis=0))


def test_a_concept_with_mean_zero_has_no_vector(rng):
    rows = rng.integers(-8, 9, (30, 5)).astype(float)
    for some in (rows, rows[:2], np.zeros((30, 5))):
        both = np.concatenate([some, -some])
        for estimator in ("lda", "lda_unshrunk", "mean"):
            np.testing.assert_array_equal(concept_vector(both, estimator), 0)
    np.testing.assert_array_equal(cosines(np.zeros((1, 3)), np.ones((1, 3))), [0])


def test_moments_of_parts_add_up(rng):
    a, b = rows_of(rng, 30, 6), rows_of(rng, 9, 6)
    both = np.concatenate([a, b])
    for found, expected in (
        (Moments.of(a) + Moments.of(b), Moments.of(both)),
        (Moments.of(both) - Moments.of(b), Moments.of(a)),
    ):
        for name, value in vars(expected).items():
            np.testing.assert_allclose(getattr(found, name), value, err_msg=name)
    mean = rng.standard_normal(6)
    fourth = (np.linalg.norm(both - mean, axis=1) ** 4).sum()
    assert Moments.of(both).centred_fourth(mean) == pytest.approx(fourth)


def nested(rng, n_rows, n_concepts):
    """Concepts as runs of mixed tokens, each in an earlier one; the first has all."""
    mixed, runs, parents = rng.permutation(n_rows), [(0, n_rows)], [[]]
    while len(runs) < n_concepts:
        parent = rng.integers(len(runs))
        start, end = runs[parent]
        a, b = np.sort(rng.integers(start, end + 1, 2))
        if b - a > 3 and (a, b) not in runs:
            runs.append((a, b))
            parents.append([parent])
    members = [np.sort(mixed[a:b]) for a, b in runs]
    names = [str(k) for k in range(n_concepts)]
    return Concepts(names, [[name] for name in names], members, parents)


def test_shared_sums_are_those_of_each_concept(rng, monkeypatch):
    rows = rows_of(rng, 200, 12)
    concepts = nested(rng, 200, 30)
    part = family(concepts, rng).largest_part
    summed, plain = [], Moments.of
    with monkeypatch.context() as patch:
        patch.setattr(Moments, "of", lambda some: summed.append(len(some)) or plain(some))
        sums = shared_moments(rows, concepts.members, part)
    assert sorted(sums) == [k for k, some in enumerate(concepts.members) if len(some) >= 12]
    size = [len(some) for some in concepts.members]
    assert sum(summed) == sum(size[k] - (size[part[k]] if part[k] in sums else 0) for k in sums)
    assert sum(summed) < 0.6 * sum(size[k] for k in sums)
    for k, found in sums.items():
        for name, value in vars(Moments.of(rows[concepts.members[k]])).items():
            np.testing.assert_allclose(getattr(found, name), value, err_msg=name)
    np.testing.assert_allclose(
        concept_vectors(rows, concepts.members, moments=sums),
        [concept_vector(rows[some]) for some in concepts.members],
        rtol=1e-8,
    )


# Claims.


def planted(rng, parent, noise=0.0, n=1000, d=8, n_children=3):
    """Tokens with their parent's vector of that length and one of length 1 of their own child."""
    e = np.eye(d)
    child = np.repeat(np.arange(n_children), n)
    rows = 4 * e[-1] + parent * e[-2] + e[child] + noise * rng.standard_normal((len(child), d))
    members = [np.arange(len(rows)), *np.split(np.arange(len(rows)), n_children)]
    return rows, members, np.array([[k + 1, 0] for k in range(n_children)])


def test_cosines_by_hand():
    vectors = np.array([[2.0, 0, 0], [2, 1, 0], [2, 1, 3], [3, 1, 0]])
    np.testing.assert_allclose(to_parent(vectors, np.array([[1, 0], [2, 1]])), 0)
    np.testing.assert_allclose(to_grandparent(vectors, np.array([[2, 1, 0]])), 0)
    np.testing.assert_allclose(to_parent(vectors, np.array([[3, 0]])), np.sqrt(0.5))
    np.testing.assert_allclose(to_parent(vectors, np.array([[0, 3]])), -4 / np.sqrt(20))
    np.testing.assert_allclose(to_grandparent(vectors, np.array([[3, 1, 0]])), 0)
    np.testing.assert_allclose(to_grandparent(vectors, np.array([[0, 3, 1]])), -np.sqrt(0.5))


@pytest.mark.parametrize("parent", [0, 2, 10])
@pytest.mark.parametrize(("estimator", "noise", "atol"), [("mean", 0, 1e-12), ("lda", 0.02, 0.03)])
def test_planted_siblings(parent, estimator, noise, atol, rng):
    # Of m children, what the parent's other tokens add to its own part is the mean of m - 1.
    rows, members, edges = planted(rng, parent, noise)
    vectors = concept_vectors(rows, members, estimator)
    np.testing.assert_allclose(to_parent(vectors, edges), 0, atol=atol)
    concepts = Concepts(list("abcd"), [[x] for x in "abcd"], members, [[], [0], [0], [0]])
    found = held_out(rows, members, family(concepts, rng), estimator, 0.5, 10, rng)
    own = 16 + parent**2
    if estimator == "mean":  # LDA leaves out where the other children differ
        own = own / (own + 1 / 2)
        np.testing.assert_allclose(found.rest_on_rest, 1, atol=0.01)
        np.testing.assert_allclose(found.child_on_rest, own, atol=0.01)
    else:
        np.testing.assert_allclose(found.rest_on_rest, 1, atol=0.02)
        np.testing.assert_allclose(found.child_on_rest, 1, atol=0.05)


def test_own_vectors_of_planted_ancestors(rng):
    e = np.eye(10)
    level = np.repeat([0, 1, 2], [1600, 800, 800])
    rows = np.cumsum(e[:3], axis=0)[level]  # the nodes' own tokens: exactly orthogonal
    own = np.array([rows[level == k].mean(axis=0) for k in range(3)])
    np.testing.assert_allclose(to_parent(own, np.array([[1, 0], [2, 1]])), 0, atol=1e-12)
    np.testing.assert_allclose(to_grandparent(own, np.array([[2, 1, 0]])), 0, atol=1e-12)


def two_trees(rng, n=150, n_children=3):
    """Two roots with children, mixed tokens: concepts, token -> tree and child (0: of none)."""
    tree, child = np.divmod(rng.permutation(np.repeat(np.arange(2 * (n_children + 1)), n)),
                            n_children + 1)  # fmt: skip
    members, parents = [], []
    for one in range(2):
        members.append(np.flatnonzero(tree == one))
        parents.append([])
        root = len(members) - 1
        for own in range(1, n_children + 1):
            members.append(np.flatnonzero((tree == one) & (child == own)))
            parents.append([root])
    names = [str(node) for node in range(len(members))]
    concepts = Concepts(names, [[name] for name in names], members, parents)
    related = family(concepts, rng)
    other = np.where(related.edges[:, 1] == 0, n_children + 1, 0)  # the other root
    return concepts, replace(related, strangers=other), tree, child


@pytest.mark.parametrize("d", [30, 600])  # fewer, and more than tokens of the rest
@pytest.mark.parametrize("estimator", ["lda", "mean"])
def test_held_out_finds_planted_parents(d, estimator, rng):
    concepts, related, tree, child = two_trees(rng)
    noise = rng.standard_normal((len(tree), d)) * np.sqrt(30 / d) * 0.3
    e = np.eye(d)
    parent, own = 3 * e[tree], np.where((child > 0)[:, None], e[2 + 4 * tree + child], 0)

    def found(rows):
        return held_out(rows, concepts.members, related, estimator, 0.7, 10, rng)

    one = found(noise + parent + own)
    np.testing.assert_allclose(one.test, 1, atol=0.12)
    np.testing.assert_allclose(one.rest_on_rest, 1, atol=0.12)
    np.testing.assert_allclose(one.child_on_rest, one.rest_on_rest, atol=0.12)
    np.testing.assert_allclose(one.stranger_on_rest, 0, atol=0.12)
    assert np.all(one.random < 0.75)  # a child's are half of its parent's or siblings' at most
    # A child that has nothing of its parent: the rest still has.
    one = found(noise + np.where((child > 0)[:, None], 0, parent) + 3 * own)
    assert np.all(one.rest_on_rest > 0.5)
    np.testing.assert_allclose(one.child_on_rest, 0, atol=0.15)
    # Nothing is shared by any tokens.
    one = found(noise)
    for some in (one.test, one.random, one.rest_on_rest, one.child_on_rest, one.stranger_on_rest):
        assert abs(some.mean()) < 0.4
    assert abs(one.child_on_rest.mean() - one.rest_on_rest.mean()) < 0.4
    # Random children of one parent each.
    for node in (0, 4):
        mixed = rng.permutation(concepts.members[node])
        for k in range(3):
            concepts.members[node + 1 + k] = np.sort(mixed[150 * k : 150 * (k + 1)])
    one = found(noise + parent + own)
    np.testing.assert_allclose(one.child_on_rest, one.rest_on_rest, atol=0.12)


def test_a_stranger_is_judged_by_tokens_that_the_vector_does_not_know(rng):
    concepts, related, tree, _ = two_trees(rng)
    rows = 0.3 * rng.standard_normal((len(tree), 40)) + 3 * np.eye(40)[tree]
    # The second root has tokens of the first tree's first child as well; siblings are all inside.
    members = [*concepts.members]
    members[4] = np.union1d(members[4], members[1])
    found = held_out(rows, members, related, "lda", 0.7, 10, rng)
    np.testing.assert_allclose(found.stranger_on_rest[:3], 0, atol=0.1)
    inside = replace(related, strangers=np.array([2, 3, 1, 1, 2, 3]))
    found = held_out(rows, members, inside, "lda", 0.7, 10, rng)
    assert np.isnan(found.stranger_on_rest).tolist() == [True, True, True, True, False, False]
    assert np.isfinite(found.child_on_rest).all()


def test_held_out_is_its_definition(rng):
    rows = rows_of(rng, 200, 20)
    ends = [(0, 150), (20, 60), (0, 15), (7, 150), (0, 145), (160, 161), (0, 200)]
    members = [np.arange(*some) for some in ends]
    parents = [[6], [0], [0], [0], [0], [6], []]
    names = [str(node) for node in range(7)]
    related = family(Concepts(names, [[name] for name in names], members, parents), rng)
    ways: list[tuple[Estimator, int]] = [("lda", 5), ("mean", 3), ("lda", 2)]
    for estimator, min_rest in ways:
        found = held_out(rows, members, related, estimator, 0.6, min_rest, np.random.default_rng(5))
        chosen = np.random.default_rng(5).random(200) < 0.6

        def along(some, vector):
            return (rows[some] @ vector).mean() / (vector @ vector)

        for node, some in enumerate(members):
            train, test = some[chosen[some]], some[~chosen[some]]
            if len(train) < 2 or not len(test):
                assert node == 5
                assert np.isnan([found.test[5], found.random[5]]).all()
                continue
            vector = concept_vector(rows[train], estimator)
            np.testing.assert_allclose(found.test[node], along(test, vector), rtol=1e-6)
            assert np.isfinite(found.random[node])
        several, unknown = [], 0
        for row, (child, parent) in enumerate(related.edges.tolist()):
            rest = np.setdiff1d(members[parent], members[child])
            train, test = rest[chosen[rest]], rest[~chosen[rest]]
            on_rest = [found.rest_on_rest[row], found.child_on_rest[row],
                       found.stranger_on_rest[row]]  # fmt: skip
            several.append(len(train))
            if len(train) < min_rest or not len(test):
                assert np.isnan(on_rest).all()
                continue
            vector = concept_vector(rows[train], estimator)
            stranger = np.setdiff1d(members[related.strangers[row]], members[parent])
            sets = (test, members[child], stranger)
            if not len(stranger):
                assert np.isnan(on_rest.pop())
                unknown += 1
            np.testing.assert_allclose(
                on_rest,
                [along(some, vector) for some in sets[: len(on_rest)]],
                rtol=1e-6,
                atol=1e-9,
            )
        assert unknown
        assert min(several) < 5 < 20 <= max(several)  # both ways to the vector, and none


@given(st.sets(st.integers(0, 30)), st.integers(0, 20), st.integers(0, 99))
def test_tokens_outside_are_no_members(some, n, seed):
    found = _outside(np.array(sorted(some), dtype=np.int64), 31, n, np.random.default_rng(seed))
    assert len(found) == n
    assert set(found.tolist()) <= set(range(31)) - (some if len(some) < 31 else set())


def test_tokens_outside_are_uniform(rng):
    some = np.array([0, 1, 4, 7, 8, 9, 14])
    counts = np.bincount(_outside(some, 15, 80_000, rng), minlength=15)
    assert set(np.flatnonzero(counts == 0)) == set(some)
    np.testing.assert_allclose(counts[counts > 0], 10_000, rtol=0.06)
    every = np.bincount(_outside(np.arange(4), 4, 40_000, rng), minlength=4)
    np.testing.assert_allclose(every, 10_000, rtol=0.06)


def test_random_parts_of_a_parent_are_orthogonal_to_it(rng):
    rows = rng.standard_normal((600, 50)) + 0.5
    members = [np.arange(400), np.arange(300)] + [np.arange(60)] * 20
    edges = np.array([[k, k % 2] for k in range(2, 22)])
    vectors = concept_vectors(rows, members, "mean")
    found = random_children(rows, vectors, members, edges, "mean", rng)
    assert len(np.unique(found)) == 20
    assert abs(found.mean()) < 0.1
    # The real child is not: its tokens are those of one side.
    sided = rows + 2 * (np.arange(600) < 60)[:, None]
    vectors = concept_vectors(sided, members, "mean")
    assert to_parent(vectors, edges).min() > 0.5
    assert abs(random_children(sided, vectors, members, edges, "mean", rng).mean()) < 0.15


PARENTS = [[], [0], [0], [1], [1, 2], [2], []]


def test_a_small_tree_by_hand():
    assert tree_order(PARENTS).tolist() == [0, 1, 3, 4, 2, 5, 6]
    assert siblings(PARENTS).tolist() == [[1, 2], [3, 4]]
    edges = np.array([[child, parent] for child, some in enumerate(PARENTS) for parent in some])
    steps = np.array(
        [
            [0, 1, 1, 2, 2, 2, np.inf],
            [1, 0, 2, 1, 1, 3, np.inf],
            [1, 2, 0, 3, 1, 1, np.inf],
            [2, 1, 3, 0, 2, 4, np.inf],
            [2, 1, 1, 2, 0, 2, np.inf],
            [2, 3, 1, 4, 2, 0, np.inf],
            [np.inf] * 6 + [0],
        ]
    )
    np.testing.assert_allclose(closeness(edges, 7), 1 / (1 + steps))
    vectors = np.arange(14.0).reshape(7, 2) ** 2
    found = from_parents(vectors, PARENTS)
    np.testing.assert_array_equal(found[[0, 6]], vectors[[0, 6]])
    np.testing.assert_array_equal(found[1:6], vectors[1:6] - vectors[[0, 0, 1, 1, 2]])
    np.testing.assert_allclose(unit(np.array([[3.0, 4], [0, 0]])), [[0.6, 0.8], [0, 0]])


def test_correlation_with_closeness_is_spearmans(rng):
    cosine, close = (np.round(3 * rng.standard_normal((9, 9))) for _ in range(2))  # with ties
    upper = np.triu_indices(9, 1)
    expected = spearmanr(cosine[upper], close[upper])[0]
    value, left = closeness_correlation(cosine, close)
    assert value == pytest.approx(expected)
    assert len(left) == 0
    chosen = rng.random((9, 9)) < 0.6
    some = np.argwhere(np.triu(chosen, 1)).T
    expected = spearmanr(cosine[tuple(some)], close[tuple(some)])[0]
    assert closeness_correlation(cosine, close, chosen)[0] == pytest.approx(expected)
    assert np.isnan(closeness_correlation(np.ones((9, 9)), close)[0])
    assert np.isnan(closeness_correlation(cosine, close, np.zeros((9, 9), dtype=bool))[0])


def test_correlation_without_a_group_has_the_ranks_of_all_pairs(rng):
    cosine, close = rng.standard_normal((2, 12, 12))
    groups = np.arange(12) % 4 + 7
    i, j = np.triu_indices(12, 1)
    ranks = rankdata(cosine[i, j]), rankdata(close[i, j])
    value, left = closeness_correlation(cosine, close, None, groups)
    assert value == pytest.approx(spearmanr(*ranks)[0])
    assert len(left) == 4
    for number, one in enumerate(left):
        kept = (groups[i] != 7 + number) & (groups[j] != 7 + number)
        assert one == pytest.approx(np.corrcoef(ranks[0][kept], ranks[1][kept])[0, 1])
    # What is claimed: here all of it is between the concepts of one group.
    same = groups[:, None] == groups
    assert closeness_correlation(same + 0.01 * cosine, same.astype(float))[0] > 0.5
    alone = np.array([0] * 11 + [1])  # without which no pair is left to vary
    flat = np.zeros((12, 12))
    flat[-1, :] = flat[:, -1] = np.arange(12)
    assert np.isnan(closeness_correlation(flat, flat, None, alone)[1]).tolist() == [True, True]


@given(st.lists(st.sets(st.integers(0, 20), min_size=1), min_size=1, max_size=8))
def test_overlaps_are_exact(sets):
    found = overlaps([np.array(sorted(some)) for some in sets])
    np.testing.assert_array_equal(found, [[len(a & b) for b in sets] for a in sets])


@given(
    st.lists(st.sets(st.integers(0, 8), min_size=1), min_size=1, max_size=8, unique_by=frozenset)
)
def test_largest_parts(sets):
    found = largest_parts([np.array(sorted(some)) for some in sets]).tolist()
    for own, part in zip(sets, found, strict=True):
        parts = [len(other) for other in sets if other < own]
        assert (part == -1) == (not parts)
        assert part == -1 or (sets[part] < own and len(sets[part]) == max(parts))


@given(dags(), st.integers(0, 2), st.integers(0, 99))
def test_families(dag, min_tokens, seed):
    synsets, tokens = dag
    try:
        names = {some.offset: str(some.offset) for some in synsets}
        concepts, _ = build(general_first(synsets), names, tokens, min_tokens)
    except InputError:
        return
    found = family(concepts, np.random.default_rng(seed))
    sets = [set(some.tolist()) for some in concepts.members]

    def related(a, b):
        return sets[a] <= sets[b] or sets[b] <= sets[a]

    everyone = range(len(sets))
    assert found.edges.tolist() == concepts.edges.tolist()
    for (child, parent), stranger in zip(found.edges, found.strangers, strict=True):
        if all(related(child, other) for other in everyone):
            assert stranger == parent
        else:
            assert not related(child, stranger)
    edges = set(map(tuple, found.edges.tolist()))
    for (child, *above), (low, high) in zip(found.chains, found.above_strangers, strict=True):
        assert (low, high) in edges
        if all(related(child, other) for other, _ in edges):
            assert [low, high] == above
        else:
            assert not related(child, low)
    np.testing.assert_array_equal(found.apart, [[not a & b for b in sets] for a in sets])
    for one, part in enumerate(found.largest_part.tolist()):
        parts = [len(sets[other]) for other in everyone if sets[other] < sets[one]]
        assert (part == -1) == (not parts)
        if parts:
            assert sets[part] < sets[one]
            assert len(sets[part]) == max(parts)
