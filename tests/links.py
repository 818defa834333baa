"""Reads the pages of a site, and checks that they hang together without a network."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Links(HTMLParser):
    """Links, ids and images without text of a page."""

    def __init__(self):
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.images_without_text = 0
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.links += [found[key] or "" for key in ("href", "src") if key in found]
        self.ids += [found["id"] or ""] if "id" in found else []
        self.images_without_text += tag == "img" and not found.get("alt")
        if tag not in ("meta", "img", "br", "input", "link", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(page: Path) -> Links:
    """Read a page; every tag in it has to be closed."""
    links = Links()
    links.feed(page.read_text())
    assert links.open == [], page
    return links


def assert_lead_somewhere(site: Path) -> None:
    """Check that the links of the pages in `site` lead to files and ids in it."""
    found = {page.resolve(): read(page) for page in site.glob("*.html")}
    assert found
    for page, content in found.items():
        assert len(set(content.ids)) == len(content.ids), page
        assert content.images_without_text == 0, page
        for link in content.links:
            parts = urlsplit(link)
            assert not parts.scheme, f"{page.name}: {link}"
            assert not parts.netloc, f"{page.name}: {link}"
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            assert target.is_file(), f"{page.name}: {link}"
            assert target.is_relative_to(site.resolve())
            if parts.fragment and target in found:
                assert parts.fragment in found[target].ids, f"{page.name}: {link}"
