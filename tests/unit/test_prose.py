"""The linter of the paper's prose, on made-up sentences."""

import pytest
from prose import NUMBER, comparing_sentences, crowded_sentences, sentences, typed_numbers


@pytest.mark.parametrize(
    ("source", "typed"),
    [
        ("It is .48 here.", 1),
        ("Stories15M and SmolLM2-135M have L0", 0),
        ("Stories15 has 3", 2),
        ("two models, `stories15m`, @lan2024, <sec:a1> // 0.3", 0),
        ('#n("matching:a_1.b", d: 2) and #pct("saes:x.y")', 0),
        ("$ r = 1/2 sum_(i=1)^N x_i $", 0),
        ("$ r = 0.48 $", 1),
        ('#box[They share 43% of them.]', 1),
        ('#box[They share #pct("a:b.c").]', 0),
        ('#text("0.48")', 1),
        ("#(0.48)", 1),
        ("#0.48", 1),
        ('#of("matching", "a.*", "r_p", p => p <= 0.05) of them', 0),
        ("#let result = 0.48\n", 1),
        ('#let pair = "matching:a_vs_b_4"\n', 0),
        ("_Layer 3_ is", 1),
    ],
)  # fmt: skip
def test_what_counts_as_typed_by_hand(source, typed):
    assert len(typed_numbers(source)) == typed


@pytest.mark.parametrize(
    ("source", "found"),
    [
        # Two numbers and a comparing word.
        ('Seeds have #n("a:b.c"), more than the untrained model with #ci("a:d.c").', 1),
        ('Its #pct("a:b.c") is twice the #cipct("a:d.c") of the other.', 1),
        ('*More:* #n("a:b.c") against #n("a:d.c").', 1),
        # A number with its null.
        ('It lies above its null, at #vs("a:b.c").', 1),
        ('It is #vs("a:b.c").', 0),
        # One number, or no comparing word.
        ('It is #n("a:b.c"), which is more than expected.', 0),
        ('They are #n("a:b.c") and #n("a:d.c").', 0),
        ("More features are shared than not.", 0),
        # Each sentence is looked at by itself, as is each paragraph and each item of a list.
        ('The first is #n("a:b.c"). The second has more, #n("a:d.c").', 0),
        ('The first is #n("a:b.c")\n\nmore than #n("a:d.c")', 0),
        ('- the first is #n("a:b.c")\n- more than #n("a:d.c")', 0),
        ('It is #n("a:b.c") (e.g. Here) and less than #n("a:d.c").', 1),
        # A finding is where a comparison belongs.
        ('#finding("more_than") It is #n("a:b.c").', 0),
        ('It is #n("a:b.c"). #finding("more_than") It is more than that, #n("a:b.c").', 0),
        # Numbers in other functions, in code, and behind a name of the section itself.
        ('#box[It is #n("a:b.c"), less than #n("a:d.c")].', 1),
        ('It has #strong(ci("a:b.c")), less than #n("a:d.c").', 1),
        ('#let best(x) = n("a:" + x + ".c")\nIt has #best("b"), less than #best("d").', 1),
        ('#let best = "a:b.c"\nIt has #best, less than #best.', 0),
        ('#let side(x) = [less than #n("a:b.c") and #n(x)]\nOther text.', 1),
        # Words in names, comments, formulas and strings are not of the sentence.
        ('`more` has #n("a:b.c") and #n("a:d.c"). // less', 0),
        ('It is $x < "half"$ with #n("a:less.c") and #n("a:d.c").', 0),
    ],
)
def test_a_sentence_that_compares_numbers_is_found(source, found):
    assert len(comparing_sentences(source)) == found


def test_a_sentence_is_shown_without_its_code():
    source = 'The #emph[median] of `seed_a` is\n#ci("a:b.c", d: 3), and more than #n("a:d.c").'
    shown = f"The median of Name is {NUMBER}, and more than {NUMBER}."
    assert comparing_sentences(source) == [shown]


def test_a_sentence_has_at_most_four_numbers():
    four = 'It is #n("a:b.c"), #n("a:b.c"), #n("a:b.c") and #n("a:b.c").'
    assert crowded_sentences(four) == []
    assert len(crowded_sentences(four.replace("It is", 'It is #pct("a:b.c"), '))) == 1
    assert crowded_sentences(f"{four} {four}") == []
    assert len(crowded_sentences('#vs("a:b.c"), #vs("a:b.c"), #n("a:b.c")')) == 1


def test_sentences_end_at_a_full_stop_before_a_capital():
    text = "One is e.g. Two. _Three_ is (four.) Five, vs. Six et al. Seven.\n= Eight"
    parts = ["One is e.g. Two.", "_Three_ is (four.)", "Five, vs. Six et al. Seven.", "= Eight"]
    assert sentences(text) == parts
