"""The paper: numbers by their address, its tables, its prose, and whether it is of the last run."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import typst
from prose import comparing_sentences, crowded_sentences, typed_numbers
from ruamel.yaml import YAML

import committed
from universality.core.errors import InputError
from universality.core.numbers import NOT_HERE, STUDIES, Number, beside, null_of, parse, shown
from universality.present.paper import build
from universality.present.paper.claims import Claim, read_claims
from universality.present.paper.findings import PLACE, Finding, addresses, holds, read_findings
from universality.present.paper.table import Table, as_json, as_markdown, as_tex
from universality.present.summaries import write_summaries

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "pipeline"))
import readme  # noqa: E402  # pyright: ignore[reportMissingImports]

METRICS = {
    "matching": {
        "a_1.5_b": {
            "r": 0.4816, "r_low": 0.4, "r_high": 0.5, "r_null": 0.0171, "r_p": 0.05, "n": 3212,
            "opposed": -0.004,
        },
        "whole": {"n": 6424},
    },
    "hierarchy": {"claim": {"value": 0.5, "low": 0.4, "high": 0.6, "nested": 0.2}},
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


# ---- what is written by hand ----

SECTIONS = sorted((ROOT / "paper" / "sections").glob("*.typ"))


def section(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", SECTIONS, ids=section)
def test_no_number_in_the_prose_is_typed_by_hand(path):
    assert typed_numbers(path.read_text()) == []


@pytest.mark.parametrize("path", SECTIONS, ids=section)
def test_what_compares_numbers_is_a_finding(path):
    """`#finding` prints it, with the rules that make it true."""
    assert comparing_sentences(path.read_text()) == []


@pytest.mark.parametrize("path", SECTIONS, ids=section)
def test_no_sentence_has_more_than_four_numbers(path):
    assert crowded_sentences(path.read_text()) == []


NAMES = re.compile(
    r"stories15[mM]|[Ss]mol[Ll][Mm]2|L0|seed_a|Pythia-\d+m|-160m|R²|Llama2?-3-8B|GPT-2( XL)?"
    r"|Gemma-2B"
)


def test_no_number_of_ours_is_typed_into_captions_and_claims():
    yaml = YAML(typ="safe")
    for path in (ROOT / "paper" / "captions").glob("*.yaml"):
        for name, caption in yaml.load(path).items():
            assert not re.search(r"\d", NAMES.sub("", caption)), name
    for name, one in CLAIMS.items():
        text = re.sub(r"layer \d|multiplier \d( for the feature, \d)?", "", one.differs + one.claim)
        assert not re.search(r"\d", NAMES.sub("", text)), name


CLAIMS: dict[str, Claim] = read_claims(ROOT / "paper" / "claims")
FINDINGS: dict[str, Finding] = read_findings(ROOT / "paper" / "findings")
MOST_NUMBERS = 4


def test_there_are_findings_and_claims_of_every_study():
    studies = set(STUDIES) - {"models"}
    assert {one.study for one in FINDINGS.values()} >= studies
    assert {one.study for one in CLAIMS.values()} == studies


@pytest.mark.parametrize("name", FINDINGS)
def test_a_finding_has_few_numbers_and_none_by_hand(name):
    text = " ".join(FINDINGS[name].text.split())
    for sentence in re.split(r"(?<=[.!?]) +(?=[A-Z`])", text):
        assert len(PLACE.findall(sentence)) <= MOST_NUMBERS, sentence
    assert typed_numbers(PLACE.sub("", text)) == []
    # The README and the report print it, too, and know no more of typst than this.
    assert not re.search(r"[#$*<>\\]", PLACE.sub("", text))


# ---- the paper of the last run ----


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Return a copy of what the paper reads, its tables made from the committed summaries."""
    root = tmp_path_factory.mktemp("paper")
    for name in ("paper", "figures"):
        shutil.copytree(ROOT / name, root / name)
    for name in ("params.yaml", "requirements.lock"):
        shutil.copy(ROOT / name, root / name)
    committed.copy("data/tables/summaries", root)
    build.write_tables(root, root / "paper" / "tables")
    return root


@pytest.fixture(scope="module")
def numbers(project) -> build.AllMetrics:
    return build.read_numbers(project)


@pytest.fixture(scope="module")
def marks(project) -> dict[str, list[str]]:
    return build.marks(project)


def test_the_committed_tables_and_pdf_come_from_the_committed_summaries(project):
    there = {path.name for path in (ROOT / "paper" / "tables").iterdir()}
    for path in sorted((project / "paper" / "tables").iterdir()):
        assert path.read_bytes() == (ROOT / "paper" / "tables" / path.name).read_bytes(), path.name
        there.discard(path.name)
    assert there == set()
    assert build.compile_paper(project) == (ROOT / "paper" / "universality.pdf").read_bytes()


@pytest.mark.parametrize("name", FINDINGS)
def test_the_rules_of_a_finding_hold(numbers, name):
    assert holds(FINDINGS[name], numbers) is True


def test_every_finding_is_told(marks):
    assert set(FINDINGS) - set(marks.get("finding-used", [])) == set()


def test_every_claim_has_its_numbers(numbers):
    for name, one in CLAIMS.items():
        assert (one.rule is None) == (one.ours is None), name
        ours, null = one.number(), one.null()
        if one.differs.startswith("profile full only"):
            assert one.verdict(numbers) == "cannot be tested here", name
        elif ours:
            assert ours.text(numbers) != NOT_HERE, name
            assert null is None or null.text(numbers) != NOT_HERE, name
            assert one.verdict(numbers) != "cannot be tested here", name


def test_every_figure_is_shown_and_nothing_is_missing(project, marks):
    shown = sorted(marks["figure-used"] + marks.get("figure-rest", []))
    assert shown == build.drawn_figures(project / "figures")
    assert marks.get("missing", []) == []
    assert marks.get("refuted", []) == []


@pytest.mark.parametrize("study", STUDIES)
def test_few_numbers_of_a_study_are_tracked_and_they_are_those_of_its_summary(numbers, study):
    tracked = json.loads((ROOT / "metrics" / f"{study}.json").read_text())
    assert sum(map(len, tracked.values())) <= 150
    for name, values in tracked.items():
        for metric, number in values.items():
            assert numbers[study][name][metric] == number, (name, metric)


def test_there_are_few_figures_and_as_png_only_those_of_the_readme():
    figures = [path.relative_to(ROOT).as_posix() for path in (ROOT / "figures").glob("*/[!.]*")]
    assert len([path for path in figures if path.endswith(".svg")]) <= 40
    shown = re.findall(r"\]\((figures/[\w/]+\.png)\)", (ROOT / "README.md").read_text())
    assert sorted(path for path in figures if not path.endswith(".svg")) == sorted(set(shown))


def test_the_readme_says_what_the_findings_say():
    """`python pipeline/readme.py` writes them there."""
    text = (ROOT / "README.md").read_text()
    assert readme.with_block(text, readme.block(ROOT)) == text


def copy_without_figures(project: Path, root: Path) -> Path:
    shutil.copytree(project, root, ignore=shutil.ignore_patterns("figures"))
    (root / "figures").mkdir()
    return root


def test_another_run_marks_what_it_lacks_and_what_is_not_so(project, numbers, marks, tmp_path):
    """A number of a finding is gone, another finding is refuted, and a figure is not drawn."""
    told = [name for name in marks["finding-used"] if FINDINGS[name].study == "matching"]
    rests_on = {name: set(map(parse, addresses(FINDINGS[name], numbers))) for name in told}
    gone, refuted = next((a, b) for a in told for b in told if rests_on[a].isdisjoint(rests_on[b]))
    root = copy_without_figures(project, tmp_path / "other")
    changed = {study: {name: dict(x) for name, x in numbers[study].items()} for study in STUDIES}
    for study, name, metric in rests_on[gone]:
        del changed[study][name][metric]
    for study, name, metric in rests_on[refuted]:
        changed[study][name][metric] = 0.0
    write_summaries(root / "data" / "tables" / "summaries", changed)
    build.write_tables(root, root / "paper" / "tables")
    marked = build.marks(root)
    assert f"finding {gone}" in marked["missing"]
    assert f"finding {refuted}" in marked["refuted"]
    figure = marks["figure-used"][0]
    assert f"figures/{figure}" in marked["missing"]


def test_a_mistake_in_the_source_is_one_line(project, tmp_path):
    root = copy_without_figures(project, tmp_path / "wrong")
    section = root / "paper" / "sections" / "limits.typ"
    section.write_text(section.read_text() + '\n#nonsense("x")\n')
    with pytest.raises(InputError, match="unknown variable: nonsense") as error:
        build.compile_paper(root)
    assert "limits.typ" in str(error.value)
    assert "\n" not in str(error.value)
