"""The report: one site of findings, figures, tables and where they come from."""

import filecmp
import re
import shutil
from pathlib import Path

import pytest
from markupsafe import escape

import committed
import links
from universality.core.errors import InputError
from universality.core.params.base import read_yaml
from universality.present.report import content
from universality.present.report.site import VERDICTS, build

ROOT = Path(__file__).parents[2]
READ = ("paper", "figures", "params.yaml", "dvc.lock", "dvc.yaml", "provenance.json")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Return what the report is made from: the committed results, and a page of features."""
    root = tmp_path_factory.mktemp("project")
    for name in READ:
        (root / name).symlink_to(ROOT / name)
    page = root / "data" / "maps" / "seed_a_vs_seed_b" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("a map")
    return root


@pytest.fixture(scope="module")
def site(project, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("site")
    build(project, out)
    return out


def test_every_link_leads_somewhere_in_the_folder(site):
    names = {page.stem for page in site.glob("*.html")}
    assert names >= {study.id for study in content.STUDIES} | {"index"}
    links.assert_lead_somewhere(site)


def test_a_page_of_features_is_there_if_the_run_has_it(project, site, tmp_path):
    title = content.PAGES["data/maps"]
    index = (site / "index.html").read_text()
    assert title in index
    assert content.PAGES["data/cards"] not in index
    assert "seed_a and seed_b" in index
    assert (site / "maps" / "seed_a_vs_seed_b" / "index.html").read_text() == "a map"
    root = tmp_path / "pulled"
    shutil.copytree(project, root, symlinks=True)
    shutil.rmtree(root / "data")
    build(root, tmp_path / "out")
    index = (tmp_path / "out" / "index.html").read_text()
    assert "Pages to look at features" not in index
    links.assert_lead_somewhere(tmp_path / "out")


def test_every_figure_has_its_caption_and_where_it_comes_from(site):
    lock = committed.read_lock()
    for study in content.STUDIES:
        text = (site / f"{study.id}.html").read_text()
        n_figures = 0
        for folder in study.folders:
            drawn = sorted((ROOT / "figures" / folder).glob("*.svg"))
            assert drawn
            n_figures += len(drawn)
            for path in drawn:
                assert f'src="figures/{folder}/{path.name}"' in text
                copy = site / "figures" / folder / path.name
                assert copy.read_bytes() == path.read_bytes()
        assert text.count("<figcaption>") == n_figures
        stages = set(re.findall(r"stage <code>([\w@.]+)</code>", text))
        assert stages == {f"plot_{folder}" for folder in study.folders}
        for stage in stages:
            assert all(out["md5"] in text for out in lock[stage]["outs"])


def test_every_finding_is_on_the_first_page_and_with_its_study(site):
    found = content.findings(ROOT)
    index = (site / "index.html").read_text()
    assert found
    for study in content.STUDIES:
        text = (site / f"{study.id}.html").read_text()
        for finding in found.get(study.id, []):
            assert finding.holds is True
            for page in (index, text):
                assert f'id="finding-{finding.id}"' in page
                assert finding.text in page


def test_a_finding_in_html():
    html = content.as_html("Of `a_1` & `b` <1% @lan2024 are _much_ like seed_a_vs_b.")
    assert html == (
        "Of <code>a_1</code> &amp; <code>b</code> &lt;1% are <em>much</em> like seed_a_vs_b."
    )


def test_every_claim_stands_with_its_study_and_every_parameter_has_a_meaning(site):
    claims = content.claims(ROOT)
    whole = (site / "published.html").read_text()
    assert {claim["verdict"] for claim in claims} <= VERDICTS.keys()
    for claim in claims:
        for name in ("published", claim["study"]):
            text = (site / f"{name}.html").read_text() if name != "published" else whole
            assert f'id="{claim["id"]}"' in text
    assert all(str(escape(claim["rule"])) in whole for claim in claims)
    parameters = content.parameters(ROOT)
    assert len(parameters) > 300
    assert [one.key for one in parameters if not one.description] == []
    known = {one.key: one for one in parameters}
    n_null = read_yaml(ROOT / "params.yaml")["matching"]["n_null"]
    assert known["matching.n_null"].value == str(n_null)
    assert "shifts" in known["matching.n_null"].description


def test_a_caption_fills_its_slots_as_the_paper_does():
    patterns = {"maps/map_{pair}": "Map of {pair}.", "a/b": "Plain."}
    patterns |= {"m/d_{model}_layer_{n}": "{n} of {model}"}
    assert content.caption_of("maps/map_seed_a_vs_seed_b", patterns) == "Map of two LM seeds."
    assert content.caption_of("m/d_stories15m_layer_3", patterns) == "3 of stories15M"
    with pytest.raises(InputError, match="no caption for a/c"):
        content.caption_of("a/c", patterns)


def test_the_same_files_give_the_same_bytes(project, site, tmp_path):
    build(project, tmp_path)
    assert differences(filecmp.dircmp(site, tmp_path)) == []


def differences(found: filecmp.dircmp) -> list[str]:
    here = [*found.left_only, *found.right_only, *found.diff_files, *found.funny_files]
    return here + [name for below in found.subdirs.values() for name in differences(below)]


@pytest.mark.parametrize(
    ("lacking", "said"),
    [("paper", "make pull"), ("figures", "no figure"), ("dvc.lock", "lock")],
)
def test_what_lacks_is_said_in_one_line(project, tmp_path, lacking, said):
    root = tmp_path / "project"
    shutil.copytree(project, root, symlinks=True)
    (root / lacking).unlink()
    with pytest.raises(InputError, match=said) as error:
        build(root, tmp_path / "out")
    assert "\n" not in str(error.value)
