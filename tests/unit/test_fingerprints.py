"""What of the code counts, and for which command."""

import json

import pytest

from universality.core.fingerprints import FILE, Code, fingerprints, write

SOURCE = {
    "__init__.py": '"""Nothing but words."""\n',
    "stages/__init__.py": '"""Words."""\n',
    "stages/do_it.py": "def f():\n    from universality.sub import one\n",
    "stages/show.py": "from universality.three import name\nPAGE = 'page.html'\n",
    "sub/__init__.py": "X = 1\n",
    "sub/one.py": "import os\nimport universality.two\n",
    "two.py": "from universality.three import name, other\nsaid = 'other.js of old'\n",
    "three.py": '"""Three."""\n\nname = other = 1  # one\n',
    "unused.py": "",
    "pages/page.html": '{% extends "frame.html" %}<a href="other.js">',
    "pages/frame.html": "<html>",
    "pages/other.js": "alert(1)",
}
DO_IT = ["stages/do_it.py", "sub/__init__.py", "sub/one.py", "three.py", "two.py"]
SHOW = ["pages/frame.html", "pages/page.html", "stages/show.py", "three.py"]


@pytest.fixture
def source(tmp_path):
    for name, text in SOURCE.items():
        path = tmp_path / "src" / "universality" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "src"


def test_every_import_is_followed_and_pages_are_found(source):
    code = Code(source)
    assert code.commands == ["do_it", "show"]
    assert code.reached("do_it") == [f"universality/{name}" for name in DO_IT]
    assert code.reached("show") == [f"universality/{name}" for name in SHOW]


def changed(source, name, text):
    """Return the commands whose fingerprints change with the text of one file."""
    before = fingerprints(source)
    (source / "universality" / name).write_text(text)
    after = fingerprints(source)
    assert before.keys() == after.keys()
    return {command for command in after if after[command] != before[command]}


@pytest.mark.parametrize(
    "text",
    [
        "name = other = 1\n",
        '"""Other words."""\n\n\nname = other = (\n    1\n)\n',
        'name = other = 1\n"""What it is."""\n',
        "# what\nname = other = 0x1\n",
    ],
)
def test_words_and_formatting_do_not_count(source, text):
    assert changed(source, "three.py", text) == set()


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("three.py", "name = other = 2\n", {"do_it", "show"}),
        ("three.py", "name = other = 1.0\n", {"do_it", "show"}),
        ("three.py", "other = name = 1\n", {"do_it", "show"}),
        ("three.py", "if True:\n    name = other = 1\n", {"do_it", "show"}),
        ("two.py", "from universality.three import name\n", {"do_it"}),
        ("sub/__init__.py", "X = 2\n", {"do_it"}),
        ("stages/show.py", "PAGE = 'page.html'\n", {"show"}),
        ("pages/frame.html", "<html lang=en>", {"show"}),
        ("pages/other.js", "alert(2)", set()),
        ("unused.py", "x = 1\n", set()),
        ("__init__.py", "x = 1\n", {"do_it", "show"}),
    ],
)
def test_a_change_reaches_exactly_what_runs_it(source, name, text, expected):
    assert changed(source, name, text) == expected


def test_the_file_is_written_only_if_it_differs(source):
    root = source.parent
    assert write(root)
    assert json.loads((root / "fingerprints.json").read_text()) == fingerprints(source)
    assert not write(root)
    (source / "universality" / "two.py").write_text("x = 1\n")
    assert write(root)


def test_what_is_remembered_holds_for_these_bytes_only(source):
    """Of the code, and of the file, which a checkout may bring back."""
    root = source.parent
    (root / ".dvc" / "tmp").mkdir(parents=True)
    assert write(root)
    assert not write(root)
    first = (root / FILE).read_text()
    (source / "universality" / "two.py").write_text("changed = 1\n")
    assert write(root)
    assert (root / FILE).read_text() != first
    (root / FILE).write_text(first)
    assert write(root)
    assert not write(root)


def test_relative_imports_are_refused(source):
    (source / "universality" / "two.py").write_text("from . import three\n")
    with pytest.raises(SystemExit, match=r"two\.py:1: import by the full name"):
        fingerprints(source)
