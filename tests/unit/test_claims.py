"""Published claims: verdicts by hand-made numbers, and the table."""

import pytest

from universality.core.errors import InputError
from universality.present.paper.claims import (
    FAILS,
    HOLDS,
    LEAST_ITEMS,
    OPEN,
    UNTESTED,
    WEAKER,
    Claim,
    claims_json,
    claims_table,
    read_claims,
)

ADDRESS = "matching:pair.r"
FIELDS = {"study": "matching", "source": "x", "claim": "x", "published": "x", "differs": "x"}


def claim(rule, **more) -> Claim:
    fields = FIELDS | {"ours": ADDRESS, "baseline": "null", "rule": rule} | more
    return Claim.model_validate(fields)


def verdict(rule, numbers=(), **more) -> str:
    """Return the verdict for 0.48 [0.40, 0.50] beside a null of 0.02, with other `numbers`."""
    pair = {"r": 0.48, "r_low": 0.4, "r_high": 0.5, "r_null": 0.02, "r_p": 0.05, "n": 3212}
    whole = {name: x for name, x in {**pair, **dict(numbers)}.items() if x is not None}
    return claim(rule, **more).verdict({"matching": {"pair": whole}})


@pytest.mark.parametrize(
    ("rule", "numbers", "expected"),
    [
        # Reaches: beyond the null, and 0.8 of the published distance from it.
        ({"reaches": 0.55}, {}, HOLDS),  # needs .02 + .44
        ({"reaches": 0.60}, {}, WEAKER),  # needs .02 + .48
        ({"reaches": [0.9, 0.35]}, {}, HOLDS),  # .55 above its own baseline
        ({"reaches": [0.9, 0.3]}, {}, WEAKER),
        ({"reaches": 0.55}, {"r_low": 0.01}, OPEN),  # holds the null, and .46
        ({"reaches": 0.9}, {"r_low": 0.01}, FAILS),  # holds the null, and ends below .74
        ({"reaches": 0.1}, {"r_p": 0.2}, OPEN),
        # Above the null.
        ("above_null", {}, HOLDS),
        ("above_null", {"r_p": None}, HOLDS),  # no p is needed
        ("above_null", {"r_p": 0.06}, OPEN),
        ("above_null", {"r_null": 0.4}, OPEN),  # the interval begins there
        ("above_null", {"r_null": 0.5}, FAILS),
        # Below it.
        ("below_null", {"r_null": 0.6}, HOLDS),
        ("below_null", {"r_null": 0.45}, OPEN),
        ("below_null", {}, FAILS),
        # In a range, and below a limit.
        ({"between": [0.4, 0.5]}, {}, HOLDS),
        ({"between": [0.45, 0.9]}, {}, OPEN),
        ({"between": [0.1, 0.3]}, {}, FAILS),
        ({"below": 0.51}, {}, HOLDS),
        ({"below": 0.45}, {}, OPEN),
        ({"below": 0.4}, {}, FAILS),
        # Within the range of random vectors.
        ("within_random", {"r_random_low": 0.3, "r_random_high": 0.6}, HOLDS),
        ("within_random", {"r_random_low": 0.45, "r_random_high": 0.6}, OPEN),
        ("within_random", {"r_random_low": 0.6, "r_random_high": 0.7}, FAILS),
        ("within_random", {}, UNTESTED),
        (None, {}, UNTESTED),
    ],
)
def test_the_verdict_follows_from_the_rule(rule, numbers, expected):
    assert verdict(rule, numbers) == expected


def test_without_an_interval_nothing_is_decided():
    assert verdict("above_null", {"r_low": None, "r_high": None}) == OPEN
    assert verdict({"below": 0.9}, {"r_low": None}, baseline=None) == OPEN
    ranged = {"r_low": None, "r_high": None, "r_min": 0.3, "r_max": 0.6}
    assert verdict("above_null", ranged) == HOLDS
    assert verdict("above_null", ranged | {"r_null": 0.35}) == OPEN
    assert verdict("above_null", ours=f"{ADDRESS} / matching:pair.n", baseline=None) == OPEN


def test_a_null_with_a_range_counts_up_to_its_end():
    assert verdict("above_null", {"r_null_high": 0.39}) == HOLDS
    assert verdict("above_null", {"r_null_high": 0.41}) == OPEN
    assert verdict("below_null", {"r_null": 0.6, "r_null_high": 0.9}) == HOLDS
    assert verdict("below_null", {"r_null": 0.45, "r_null_high": 0.9}) == OPEN


def test_few_items_and_a_reason_leave_it_open():
    items = "matching:pair.n"
    assert verdict("above_null", {"n": LEAST_ITEMS}, items=items) == HOLDS
    assert verdict("above_null", {"n": LEAST_ITEMS - 1}, items=items) == OPEN
    assert verdict("above_null", {"n": None}, items=items) == UNTESTED
    assert verdict("above_null", undecided="true by construction") == OPEN


def test_what_this_run_lacks_cannot_be_tested():
    assert verdict("above_null", {"r": None}) == UNTESTED
    assert verdict("above_null", {"r_null": None}) == UNTESTED
    assert verdict("above_null", ours=None) == UNTESTED
    assert verdict("above_null", baseline="matching:elsewhere.r") == UNTESTED
    assert verdict("above_null", baseline="matching:pair.r_low") == OPEN


def test_what_a_verdict_rests_on():
    assert claim("above_null", items="matching:pair.n").addresses() == [
        ADDRESS, "matching:pair.r_null", "matching:pair.n"
    ]  # fmt: skip
    assert claim(None, ours=None, baseline=None).addresses() == []


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (None, "none"),
        ("above_null", "interval above null"),
        ({"reaches": [0.9, 0.4]}, "interval above null; holds from 0.40 above it"),
        ({"between": [0.1, 0.25]}, "interval within 0.1 to 0.25"),
        ({"below": 0.05}, "interval below 0.05"),
    ],
)
def test_the_rule_in_words(rule, words):
    assert claim(rule).rule_words() == words
    if rule:
        undecided = claim(rule, undecided="another baseline")
        assert undecided.rule_words() == "undecided: another baseline"


def test_the_table_has_a_row_for_each_claim_and_the_verdict_beside_its_rule():
    metrics = {"matching": {"pair": {"r": 0.48, "r_low": 0.4, "r_high": 0.5, "r_null": 0.02}}}
    claims = {"one": claim("above_null"), "two": claim(None, ours=None, baseline=None)}
    rows = claims_table(claims, metrics).texts(metrics)
    assert [row[3:7] for row in rows] == [
        ["0.48 [0.40, 0.50]", "0.02", "interval above null", HOLDS],
        ["–", "–", "none", UNTESTED],
    ]
    written = claims_json(claims, metrics)
    assert [(one["id"], one["verdict"], one["address"]) for one in written] == [
        ("one", HOLDS, ADDRESS), ("two", UNTESTED, "")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("matching", "rule: often", "one.rule"),
        ("phrenology", "", "one.study"),
        ("matching", "publishd: 1", "one.publishd"),
        ("matching", "rule: {between: [1]}", "one.rule"),
    ],
)
def test_a_claim_that_is_wrong_is_named(tmp_path, file, change, said):
    lines = ["source: x", "claim: x", "published: x", "differs: x", change]
    (tmp_path / f"{file}.yaml").write_text("one:\n" + "".join(f"  {x}\n" for x in lines))
    with pytest.raises(InputError) as error:
        read_claims(tmp_path)
    assert said in str(error.value)
