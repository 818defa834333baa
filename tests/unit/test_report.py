import filecmp
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from universality import provenance
from universality.errors import InputError
from universality.report import content
from universality.report.site import build

ROOT = Path(__file__).parents[2]
READ = ("paper", "figures", "params.yaml", "dvc.lock", "dvc.yaml", "provenance.json")


def pages_of_the_lock(root: Path) -> None:
    """Put the pages of dvc.lock into `root`, from the committed remote."""
    remote = ROOT / "remote" / "files" / "md5"
    for entry in provenance.read_lock(ROOT).values():
        for out in entry.get("outs", []):
            if str(Path(out["path"]).parent) not in content.PAGES:
                continue
            listing = json.loads((remote / out["md5"][:2] / out["md5"][2:]).read_text())
            for file in listing:
                to = root / out["path"] / file["relpath"]
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(remote / file["md5"][:2] / file["md5"][2:], to)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Return what the report is made from: the committed results and their pages."""
    root = tmp_path_factory.mktemp("project")
    for name in READ:
        (root / name).symlink_to(ROOT / name)
    pages_of_the_lock(root)
    return root


@pytest.fixture(scope="module")
def site(project, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("site")
    build(project, out)
    return out


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.images_without_text = 0
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.links += [found[key] or "" for key in ("href", "src") if key in found]
        self.ids |= {found["id"] or ""} if "id" in found else set()
        self.images_without_text += tag == "img" and not found.get("alt")
        if tag not in ("meta", "img", "br", "input", "link", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(page: Path) -> Links:
    links = Links()
    links.feed(page.read_text())
    assert links.open == [], page
    return links


def test_every_link_leads_somewhere_in_the_folder(site):
    ours = list(site.glob("*.html"))
    assert {page.stem for page in ours} >= {study.id for study in content.STUDIES} | {"index"}
    ids = {page: read(page).ids for page in ours}
    for page in ours:
        found = read(page)
        assert found.images_without_text == 0
        for link in found.links:
            parts = urlsplit(link)
            assert not parts.scheme, f"{page.name}: {link}"
            assert not parts.netloc, f"{page.name}: {link}"
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            assert target.is_file(), f"{page.name}: {link}"
            assert target.is_relative_to(site.resolve())
            if parts.fragment and target in ids:
                assert parts.fragment in ids[target], f"{page.name}: {link}"


def test_every_figure_has_its_caption_and_where_it_comes_from(site):
    lock = provenance.read_lock(ROOT)
    for study in content.STUDIES:
        text = (site / f"{study.id}.html").read_text()
        for folder in study.folders:
            drawn = sorted((ROOT / "figures" / folder).glob("*.svg"))
            assert drawn
            for path in drawn:
                assert f'src="figures/{folder}/{path.name}"' in text
                copy = site / "figures" / folder / path.name
                assert copy.read_bytes() == path.read_bytes()
        for stage in set(re.findall(r"stage <code>([\w@.]+)</code>", text)):
            assert all(out["md5"] in text for out in lock[stage]["outs"])
    captioned = (site / "matching.html").read_text().count("<figcaption>")
    assert captioned == sum(
        len(list((ROOT / "figures" / f).glob("*.svg"))) for f in content.STUDIES[1].folders
    )


def test_every_claim_stands_with_its_study_and_every_parameter_has_a_meaning(site):
    claims = content.claims(ROOT)
    whole = (site / "published.html").read_text()
    for claim in claims:
        assert f'id="{claim["id"]}"' in whole
        assert f'id="{claim["id"]}"' in (site / f"{claim['study']}.html").read_text()
    parameters = content.parameters(ROOT)
    assert len(parameters) > 500
    assert [one.key for one in parameters if not one.description] == []
    known = {one.key: one for one in parameters}
    assert known["matching.n_null"].value == "19"
    assert "shifts" in known["matching.n_null"].description


def test_a_caption_fills_its_slots_as_the_paper_does():
    patterns = {"maps/map_{pair}": "Map of {pair}.", "a/b": "Plain."}
    patterns |= {"m/d_{model}_layer_{n}": "{n} of {model}"}
    assert content.caption_of("maps/map_seed_a_vs_seed_b", patterns) == "Map of seed_a and seed_b."
    assert content.caption_of("m/d_stories15m_layer_3", patterns) == "3 of stories15m"
    with pytest.raises(InputError, match="no caption for a/c"):
        content.caption_of("a/c", patterns)


def test_the_same_files_give_the_same_bytes(project, site, tmp_path):
    build(project, tmp_path)
    assert differences(filecmp.dircmp(site, tmp_path)) == []


def differences(found: filecmp.dircmp) -> list[str]:
    here = [*found.left_only, *found.right_only, *found.diff_files, *found.funny_files]
    return here + [name for below in found.subdirs.values() for name in differences(below)]


def test_the_committed_report_comes_from_the_committed_results(site):
    assert differences(filecmp.dircmp(ROOT / "report", site)) == []


@pytest.mark.parametrize(
    ("lacking", "said"),
    [("data/maps", "make pull"), ("figures", "no figure"), ("dvc.lock", "lock")],
)
def test_what_lacks_is_said_in_one_line(project, tmp_path, lacking, said):
    root = tmp_path / "project"
    shutil.copytree(project, root, symlinks=True)
    found = root / lacking
    found.unlink() if found.is_symlink() else shutil.rmtree(found)
    with pytest.raises(InputError, match=said) as error:
        build(root, tmp_path / "out")
    assert "\n" not in str(error.value)
