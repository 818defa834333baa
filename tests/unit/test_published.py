import pytest

from universality.errors import InputError
from universality.io import write_json
from universality.published import CLAIMS, NEVER, published_page
from universality.stages.published import command

METRICS = {
    "seed_a_vs_seed_b_best_of_4_layers": {
        "median_r": 0.4936, "median_r_low": 0.4891, "median_r_high": 0.4971, "median_r_null": 0.017,
    },
    "seed_a_vs_stories15m_filter_min_r": {"n_pairs": 20, "n_pairs_null": 3.0},
    "seed_a_vs_stories15m_filter_all": {"n_pairs": 80, "n_pairs_null": 60.0},
}  # fmt: skip


def test_every_claim_has_a_row_with_ours_or_says_why_not():
    rows = published_page(METRICS).splitlines()[-len(CLAIMS) :]
    cells = {row.split(" | ")[1]: row.split(" | ") for row in rows}
    assert len(cells) == len(CLAIMS)
    assert all(len(row) == 6 for row in cells.values())
    assert cells["median best r of features, two LM seeds"][2:5] == [
        "0.72", "0.49 [0.49, 0.50]", "0.02",
    ]  # fmt: skip
    kept = cells["share of pairs that pass the filters"]
    assert kept[3:5] == ["0.25 (20 of 80)", "0.05"]
    assert cells["median best r of neurons, two LM seeds"][3] == NEVER


def test_the_stage_writes_the_page_or_says_what_is_missing(tmp_path):
    write_json(tmp_path / "metrics" / "matching.json", METRICS)
    command(tmp_path / "metrics", tmp_path / "out")
    assert (tmp_path / "out" / "matching.md").read_text() == published_page(METRICS)
    with pytest.raises(InputError, match="nowhere"):
        command(tmp_path / "nowhere", tmp_path / "out")
