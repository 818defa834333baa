import json
import re
import shutil
from pathlib import Path

import pytest
import typst
from prose import typed_numbers
from ruamel.yaml import YAML

from universality.errors import InputError
from universality.io import write_json
from universality.paper import build
from universality.paper.claims import Claim, claims_table, read_claims
from universality.paper.numbers import NOT_HERE, Number, beside, null_of, parse, read_metrics, shown
from universality.paper.table import Table, as_json, as_markdown, as_tex

ROOT = Path(__file__).parents[2]
METRICS = {
    study: {} for study in ("models", "saes", "matching", "similarity", "steering", "hierarchy")
} | {
    "matching": {
        "a_1.5_b": {
            "r": 0.4816, "r_low": 0.4, "r_high": 0.5, "r_null": 0.0171, "r_p": 0.05, "n": 3212,
            "opposed": -0.004,
        },
        "whole": {"n": 6424},
    },
    "hierarchy": {
        "claim": {
            "value": 0.5, "low": 0.4, "high": 0.6, "nested": 0.2,
            "random_low": -1, "random_high": 1,
        }
    },
}  # fmt: skip


def test_a_number_is_found_by_its_address_with_what_is_beside_it():
    address = "matching:a_1.5_b.r"
    assert parse(address) == ("matching", "a_1.5_b", "r")
    assert beside(address, "low") == "matching:a_1.5_b.r_low"
    assert beside("hierarchy:claim.value", "nested") == "hierarchy:claim.nested"
    assert Number(address, 3).text(METRICS) == "0.482 [0.400, 0.500]"
    assert Number(address, 0, percent=True).text(METRICS) == "48% [40%, 50%]"
    assert null_of(address).text(METRICS) == "0.02"
    assert Number("hierarchy:claim.value").text(METRICS) == "0.50 [0.40, 0.60]"
    assert Number("matching:a_1.5_b.n", over="matching:whole.n").text(METRICS) == "0.50"
    assert Number("matching:nowhere.r").text(METRICS) == NOT_HERE


NUMBERS = [
    (0.4816, 2, False), (-0.004, 2, False), (-3.126, 2, False), (3212, 0, False), (77447, 0, False),
    (0.2584, 0, True), (0.0149, 1, True), (-1234.5678, 3, False), (0.996, 2, False), (12, 0, True),
    (0.125, 0, True), (0.125, 2, False), (0.375, 2, False), (-2.5, 0, False),
]  # fmt: skip


def test_prose_and_tables_print_a_number_alike(tmp_path):
    source = tmp_path / "numbers.typ"
    lines = [f"#metadata(shown({x}, {d}, {str(p).lower()}))<shown>" for x, d, p in NUMBERS]
    source.write_text("\n".join([_formatting(), *lines]))
    said = json.loads(typst.query(source, "<shown>", field="value", root=tmp_path))
    assert said == [shown(*number) for number in NUMBERS]
    assert said[:4] == ["0.48", "0.00", "−3.13", "3,212"]


def _formatting() -> str:
    """Return the functions of lib.typ that print numbers, without the metrics it reads."""
    text = (ROOT / "paper" / "lib.typ").read_text()
    return text[text.index("#let whole") : text.index("// A value, two decimals")]


TABLE = Table(
    "one_table",
    "What & why: 100%",
    ["a_b", "r", "null"],
    [
        ["left | right", Number("matching:a_1.5_b.opposed", 3), null_of("matching:a_1.5_b.r")],
        ["nowhere", Number("matching:nowhere.r"), null_of("matching:nowhere.r")],
    ],
)


def test_a_table_leaves_out_what_this_run_does_not_have():
    written = as_json(TABLE, METRICS)
    assert written["rows"] == [["left | right", "−0.004", "0.02"]]
    assert written["align"] == "lrr"
    assert "matching:a_1.5_b.r_null" in written["addresses"]  # type: ignore[operator]


def test_a_table_for_latex_and_markdown():
    tex = as_tex(TABLE, METRICS)
    assert r"\caption{What \& why: 100\%}" in tex
    assert r"a\_b & r & null \\" in tex
    assert r"left \textbar{} right & $-$0.004 & 0.02 \\" in tex
    assert tex.count(r"\\") == 2
    assert "| left &#124; right | −0.004 | 0.02 |" in as_markdown(TABLE, METRICS)


def claim(rule, ours="matching:a_1.5_b.r", baseline="null") -> str:
    fields = {"study": "matching", "source": "x", "claim": "x", "published": "x", "differs": "x"}
    full = Claim.model_validate(fields | {"ours": ours, "baseline": baseline, "rule": rule})
    return full.verdict(METRICS)


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        ({"reaches": 0.5}, "holds"),  # (.4816 - .0171) / .5 is .93
        ({"reaches": 0.72}, "holds, weaker"),  # .65
        ({"reaches": [0.72, 0.2]}, "holds"),  # .89 of the way between them
        ("above_null", "holds"),
        ("below_null", "does not hold"),
        ("exists", "holds"),
        ({"between": [0.4, 0.5]}, "holds"),
        ({"between": [0.1, 0.3]}, "does not hold"),
        ({"below": 0.51}, "holds"),
        ({"below": 0.49}, "does not hold"),  # its interval ends at .5
        ({"cheaper": ["matching:a_1.5_b.r_null", "matching:a_1.5_b.r_low"]}, "holds"),
        ({"cheaper": ["matching:a_1.5_b.r_high", "matching:a_1.5_b.r_low"]}, "does not hold"),
        (None, "cannot be tested here"),
    ],
)
def test_the_verdict_follows_from_the_rule(rule, verdict):
    assert claim(rule) == verdict


def test_a_verdict_needs_the_interval_beyond_the_null_and_a_small_p():
    assert claim("above_null", baseline="low") == "does not hold"  # the interval begins there
    assert claim({"reaches": 0.1}, baseline="high") == "does not hold"
    entry = METRICS["matching"]["a_1.5_b"]
    weak = METRICS | {"matching": {"a_1.5_b": entry | {"r_p": 0.1}}}
    fields = {"study": "matching", "source": "x", "claim": "x", "published": "x", "differs": "x",
              "ours": "matching:a_1.5_b.r", "baseline": "null", "rule": "above_null"}  # fmt: skip
    assert Claim.model_validate(fields).verdict(weak) == "does not hold"
    assert claim("above_null", ours="matching:nowhere.r") == "cannot be tested here"
    assert claim("within_random", "hierarchy:claim.value", "nested") == "holds"
    assert claim("above_null", ours="hierarchy:claim.value", baseline="nested") == "holds"


def test_a_range_stands_for_an_interval_and_counts_of_a_null():
    entry = {"r": 0.04, "r_min": 0.0, "r_max": 0.2, "r_null": 0.02, "s": 3.0, "s_null": 1.0}
    fields = {"study": "matching", "source": "x", "claim": "x", "published": "x", "differs": "x",
              "baseline": "null", "rule": "above_null"}  # fmt: skip

    def verdict(metric, **more):
        claim = Claim.model_validate(fields | {"ours": f"matching:one.{metric}"})
        return claim.verdict(METRICS | {"matching": {"one": entry | more}})

    assert verdict("r") == "does not hold"
    assert verdict("r", r_min=0.03) == "holds"
    assert verdict("s") == "holds"
    assert verdict("s", s_null_high=3.5) == "does not hold"


def test_every_claim_of_the_project_says_which_number_is_compared_with_what():
    claims = read_claims(ROOT / "paper" / "claims.yaml")
    metrics = read_metrics(ROOT / "metrics")
    for name, one in claims.items():
        assert (one.rule is None) == (one.ours is None), name
        ours = one.number()
        if ours:
            assert ours.text(metrics) != NOT_HERE, name
            null = one.null()
            assert null is None or null.text(metrics) != NOT_HERE, name
            assert one.verdict(metrics) != "cannot be tested here", name
    assert {one.study for one in claims.values()} == {
        "saes", "matching", "similarity", "steering", "hierarchy"
    }  # fmt: skip
    assert len(claims_table(claims, metrics).texts(metrics)) == len(claims)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rule": "often"}, "one.rule"),
        ({"study": "phrenology"}, "one.study"),
        ({"publishd": "1"}, "one.publishd"),
        ({"rule": {"between": [1]}}, "one.rule"),
    ],
)
def test_a_claim_that_is_wrong_is_named(tmp_path, change, said):
    fields = {"study": "saes", "source": "x", "claim": "x", "published": "x", "differs": "x"}
    path = tmp_path / "claims.yaml"
    with path.open("w") as file:
        YAML().dump({"one": fields | change}, file)
    with pytest.raises(InputError, match=re.escape(said)):
        read_claims(path)


# ---- prose ----


def sections() -> list[Path]:
    return sorted((ROOT / "paper" / "sections").glob("*.typ"))


@pytest.mark.parametrize("path", sections(), ids=lambda path: path.stem)
def test_no_number_in_the_prose_is_typed_by_hand(path):
    assert typed_numbers(path.read_text()) == []


@pytest.mark.parametrize(
    ("source", "typed"),
    [
        ("It is .48 here.", 1),
        ("two models, `stories15m`, @lan2024, <sec:a1> // 0.3", 0),
        ('#n("matching:a_1.b", d: 2) and #pct("saes:x.y")', 0),
        ("$ r = 1/2 sum_(i=1)^N x_i $", 0),
        ("$ r = 0.48 $", 1),
        ('#holds(true)[They share 43% of them.]', 1),
        ('#holds(more("a:b.c", "a:b.d"))[They share #pct("a:b.c").]', 0),
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


NAMES = re.compile(
    r"stories15m|smollm2|L0|seed_a|Pythia-\d+m|-160m|R²|Llama2?-3-8B|GPT-2( XL)?|Gemma-2B"
)


def test_no_number_of_ours_is_typed_into_captions_and_claims():
    yaml = YAML(typ="safe")
    for path in (ROOT / "paper" / "captions").glob("*.yaml"):
        for name, caption in yaml.load(path).items():
            assert not re.search(r"\d", NAMES.sub("", caption)), name
    for name, one in read_claims(ROOT / "paper" / "claims.yaml").items():
        text = re.sub(r"layer \d|multiplier \d( for the feature, \d)?", "", one.differs + one.claim)
        assert not re.search(r"\d", NAMES.sub("", text)), name


# ---- the paper as a whole ----


def names(file: str) -> str:
    """Return a pattern for the names that a file of data/ gives."""
    return "|".join(sorted(YAML(typ="safe").load(ROOT / "data" / file), key=len, reverse=True))


KINDS = [
    (r"stories15m|smollm2|seed_[ab]|random_[ab]|sae_seed", "M"),
    (r"M_vs_M|M_into_(M|itself)", "PAIR"),
    (r"\d+(\.\d+)?", "#"),
    (r"times_-#", "times_#"),
    (rf"(?<=_)({names('contrasts.yaml')})(?=_)", "CONTRAST"),
    (r"(?<=(concept|.tokens|..topic)_)\w+", "CONCEPT"),
    (r"^(architectures|widths)_\w+?_#_x#", r"\1"),
    (r"_weights_\w+", "_weights"),
    (r"_polytope_\w+", "_polytope"),
    (r"(?<=lm)_[ab](?=_at_)", ""),
    (r"_[ab]_encoder_spectrum", "_encoder_spectrum"),
    (r"^(M_(alone|in_context)_layer_#)_\w+", r"\1"),
    (r"^(M_(nouns|verbs))_(lda|mean)(_euclidean|_unshrunk)?_\w+", r"\1"),
]
"""What differs within a kind of entry, and what stands for it."""


def family(entry: str) -> str:
    """Return the kind of an entry: its id without models, layers, seeds and other values."""
    for pattern, name in KINDS:
        entry = re.sub(pattern, name, entry)
    return entry


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Return a copy of what the paper reads, its tables made from the committed metrics."""
    root = tmp_path_factory.mktemp("paper")
    for name in ("paper", "metrics", "figures"):
        shutil.copytree(ROOT / name, root / name)
    for name in ("params.yaml", "requirements.lock"):
        shutil.copy(ROOT / name, root / name)
    build.write_tables(root, root / "paper" / "tables")
    return root


def test_the_committed_tables_and_pdf_come_from_the_committed_metrics(project):
    for path in sorted((project / "paper" / "tables").iterdir()):
        assert path.read_bytes() == (ROOT / "paper" / "tables" / path.name).read_bytes(), path.name
    assert build.compile_paper(project) == (ROOT / "paper" / "universality.pdf").read_bytes()


@pytest.fixture(scope="module")
def marks(project) -> dict[str, list[str]]:
    return build.marks(project)


def test_every_figure_is_shown_and_nothing_is_missing(project, marks):
    assert sorted(marks["figure-used"] + marks["figure-rest"]) == build.drawn_figures(
        project / "figures"
    )
    assert "missing" not in marks
    assert "refuted" not in marks


def test_every_kind_of_metric_is_used(project, marks):
    used = {family(parse(address)[1]) for address in marks["used"]}
    metrics = read_metrics(project / "metrics")
    kinds = {family(entry) for entries in metrics.values() for entry in entries}
    assert kinds - used == set()


def test_another_run_marks_what_it_lacks_and_what_is_not_so(project, tmp_path):
    root = tmp_path / "other"
    shutil.copytree(project, root, ignore=shutil.ignore_patterns("figures"))
    shutil.copytree(project / "figures" / "matching", root / "figures" / "matching")
    path = root / "metrics" / "matching.json"
    metrics = json.loads(path.read_text())
    del metrics["seed_a_vs_seed_b_pairing_mutual"]
    metrics["seed_a_vs_random_a_best_of_4_layers"]["median_r"] = 0.9
    write_json(path, metrics)
    for figure in (root / "figures" / "matching").glob("best_r.*"):
        figure.unlink()
    build.write_tables(root, root / "paper" / "tables")
    marked = build.marks(root)
    assert "matching:seed_a_vs_seed_b_pairing_mutual.median_r" in marked["missing"]
    assert "figures/matching/best_r" in marked["missing"]
    assert len(marked["refuted"]) == 1


def test_a_mistake_in_the_source_is_one_line(project, tmp_path):
    root = tmp_path / "wrong"
    shutil.copytree(project, root, ignore=shutil.ignore_patterns("figures"))
    (root / "figures").mkdir()
    section = root / "paper" / "sections" / "limits.typ"
    section.write_text(section.read_text() + '\n#nonsense("x")\n')
    with pytest.raises(InputError, match="unknown variable: nonsense") as error:
        build.compile_paper(root)
    assert "limits.typ" in str(error.value)
    assert "\n" not in str(error.value)
