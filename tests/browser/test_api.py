"""The API reference: every public module, no warning, no network."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The pages, from a process in which what pdoc has to say is an error."""
    out = tmp_path_factory.mktemp("reference") / "api"
    strict = ["-W", "error::UserWarning", "-W", "error::RuntimeWarning"]
    command = [sys.executable, *strict, "pipeline/api.py", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "pdoc" not in done.stdout + done.stderr  # it prints other complaints
    return out


def test_every_public_module_is_there(reference):
    modules = [
        path.relative_to(SOURCE).with_suffix("")
        for path in (SOURCE / "universality").rglob("*.py")
        if not any(part.startswith("_") and part != "__init__" for part in path.parts)
    ]
    pages = {m.parent if m.name == "__init__" else m for m in modules}
    assert len(pages) > 200
    found = {page.relative_to(reference).with_suffix("") for page in reference.rglob("*.html")}
    assert pages <= found


def test_docstrings_and_types_are_there(reference):
    page = (reference / "universality" / "core" / "alignment.html").read_text()
    text = re.sub(r"<[^>]+>", "", page)
    assert "Pair the rows of two tokenizations that end at the same character" in text
    assert re.search(r"def\s+align\(\s+document_a: numpy.ndarray", text)


def test_pages_load_nothing_and_name_no_folder_of_this_machine(reference):
    loading = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=\"(?!data:)([^\"]*)\"")
    imported = re.compile(r"@import|url\(\s*[\"']?(?!data:|#)[\w/]")
    for page in reference.rglob("*.html"):
        text = page.read_text()
        assert loading.findall(text) == [], page
        assert not imported.search(text), page
        assert str(ROOT) not in text, page
        assert " at 0x" not in text, page


def test_links_lead_somewhere(reference):
    for page in reference.rglob("*.html"):
        for link in re.findall(r"<a\b[^>]*\bhref=\"([^\"#]+)", page.read_text()):
            if "${" not in link and not link.startswith("https://"):
                assert (page.parent / link).is_file(), (page, link)


def test_search_works_from_a_file(reference, browser):
    with browser.new_context() as context:
        page = context.new_page()
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((reference / "universality" / "core" / "alignment.html").as_uri())
        page.get_by_role("searchbox").fill("positions two tokenizers share")
        found = page.locator(".search-result").first
        found.wait_for(timeout=30_000)
        results = page.locator(".search-result").all_inner_texts()
        assert any("universality.core.alignment" in text for text in results)
        assert all(url.startswith("file://") for url in asked)
        assert [text for text in said if "search index" not in text.lower()] == []
