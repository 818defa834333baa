"""The numbers of all studies as files, and the few that are tracked."""

import re
from pathlib import Path

import pandas as pd
import pytest

from universality.core.errors import InputError
from universality.present.summaries import chosen, read_summaries, read_summary, write_summaries

NUMBERS = {
    "matching": {
        "a_1.5_b": {"r": 0.5, "r_low": 0.4, "r_high": 0.6, "r_null": 0.1, "r_null_high": 0.2,
                    "r_p": 0.005, "r_nested": 0.3, "n": 7},
        "other": {"r": 0.9},
    },
    "hierarchy": {"claim": {"value": 0.5, "low": 0.4, "high": 0.6, "nested": 0.2}},
    "saes": {},
}  # fmt: skip


def test_all_numbers_come_back_from_their_tables(tmp_path):
    write_summaries(tmp_path, NUMBERS)
    assert read_summaries(tmp_path, NUMBERS) == NUMBERS
    table = pd.read_parquet(tmp_path / "matching.parquet")
    assert list(table) == ["id", "metric", "value"]
    assert table["value"].dtype == "float64"
    assert table.duplicated(["id", "metric"]).sum() == 0
    assert list(table["id"].unique()) == ["a_1.5_b", "other"]  # in order, as are the metrics
    assert list(table["metric"][:3]) == ["n", "r", "r_high"]
    assert read_summary(tmp_path / "saes.parquet") == {}


def test_the_same_numbers_give_the_same_bytes_in_any_order(tmp_path):
    write_summaries(tmp_path / "a", NUMBERS)
    turned = {
        study: {name: dict(reversed(x.items())) for name, x in reversed(entries.items())}
        for study, entries in NUMBERS.items()
    }
    write_summaries(tmp_path / "b", turned)
    for study in NUMBERS:
        a, b = (tmp_path / folder / f"{study}.parquet" for folder in "ab")
        assert a.read_bytes() == b.read_bytes()


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_what_is_not_finite_is_left_out(tmp_path, number):
    """Neither JSON nor a sentence can hold it: a run on another processor once had a ratio to 0."""
    write_summaries(tmp_path, {"steering": {"spread": {"times": number, "n": 3}}})
    assert read_summaries(tmp_path, ["steering"]) == {"steering": {"spread": {"n": 3}}}


def test_what_is_tracked_has_its_interval_null_and_p_beside_it():
    kept = chosen(NUMBERS, ["matching:a_1.5_b.r", "hierarchy:claim.value"])
    assert kept == {
        "matching": {
            "a_1.5_b": {"r": 0.5, "r_low": 0.4, "r_high": 0.6, "r_null": 0.1, "r_null_high": 0.2,
                        "r_p": 0.005}
        },
        "hierarchy": {"claim": {"value": 0.5, "low": 0.4, "high": 0.6}},
        "saes": {},
    }  # fmt: skip


def test_what_a_run_lacks_is_left_out_and_an_unknown_study_is_named():
    assert chosen(NUMBERS, ["matching:nowhere.r", "matching:other.q"])["matching"] == {}
    with pytest.raises(InputError, match="no study 'phrenology'"):
        chosen(NUMBERS, ["phrenology:a.b"])


COMMITTED = Path(__file__).parents[2] / "data" / "tables" / "summaries"
SHARE, CORRELATION = re.compile(r"(^|_)shares?(_|$)"), re.compile(r"(^|_)r(_|$)")
EPSILON = 1e-9
RATIOS = ("steering",)
"""Studies whose shares are of an effect, which parts of it may exceed."""


def inconsistent(study, entries):
    """Yield what is wrong with intervals and ranges of the numbers of a study."""
    for name, row in entries.items():
        for metric, value in row.items():
            ends = ("low", "high") if metric == "value" else (f"{metric}_low", f"{metric}_high")
            if (
                set(ends) <= row.keys()
                and not row[ends[0]] - EPSILON <= value <= row[ends[1]] + EPSILON
            ):
                yield f"{name}: {metric} {value} is not in [{row[ends[0]]}, {row[ends[1]]}]"
            if CORRELATION.search(metric) and not abs(value) <= 1 + EPSILON:
                yield f"{name}: {metric} {value} is no correlation"
            if (
                SHARE.search(metric)
                and study not in RATIOS
                and not -EPSILON <= value <= 1 + EPSILON
            ):
                yield f"{name}: {metric} {value} is no share"


def test_wrong_intervals_and_ranges_are_found():
    right = {"share": 0.1, "share_low": 0.1, "share_high": 0.2, "rank_r_logit": -1.0, "ratio": 3.0}
    assert list(inconsistent("matching", {"a": right})) == []
    wrong = {"value": 2.0, "low": 2.1, "high": 3.0, "median_r_high": 1.1, "share_above_low": -0.1}
    assert len(list(inconsistent("matching", {"a": wrong}))) == 3
    assert len(list(inconsistent("steering", {"a": wrong}))) == 2


@pytest.mark.parametrize(
    "study", ["models", "saes", "matching", "similarity", "steering", "hierarchy"]
)
def test_committed_intervals_hold_their_estimate_and_keep_to_the_range_of_the_measure(study):
    path = COMMITTED / f"{study}.parquet"
    if not path.exists():
        pytest.skip(f"{path} is not here; `make pull` fetches it")
    assert list(inconsistent(study, read_summary(path))) == []
