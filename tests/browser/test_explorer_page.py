"""The explorer as a user has it: a process of its own, and a browser."""

import http.client
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

import explored

COMMAND = [sys.executable, "-c", "from universality.cli import main; main()", "explore"]


def start(*options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(explored.ROOT / "src")},
    )


@contextmanager
def serving(root: Path, *options: str) -> Iterator[str]:
    """Run the explorer on a free port; yields the address that it says it has."""
    with start("--root", str(root), "--port", "0", *options) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"(http://127\.0\.0\.1:\d+)/ ", line)
        try:
            assert found, line
            yield found[1]
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return explored.make(tmp_path_factory.mktemp("explored") / "clone")


@pytest.fixture(scope="module")
def address(root):
    with serving(root) as at:
        yield at


@pytest.fixture
def page(browser, address):
    """A page that must say nothing on its console and ask no other host."""
    with browser.new_context() as context:
        opened = context.new_page()
        said, hosts = [], set()
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
        opened.goto(f"{address}/features")
        yield opened
        assert said == []
        assert hosts == {urlsplit(address).netloc}


def ask(page, text: str) -> None:
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_role("button", name="Show features").click()
    page.wait_for_selector("#result:not([hidden]):not(.stale) .chip")


def test_a_text_shows_tokens_and_features(page):
    ask(page, "The cat <b>sat</b>.\nTom")
    for side in "ab":  # the text is shown as text, each side in its own tokens
        assert page.locator(f"#strip-{side}").inner_text()[1:].strip() == "The cat <b>sat</b>.↵Tom"
    pieces = page.locator("#rows th code").all_inner_texts()
    assert "".join(pieces) == "The␣cat␣<b>sat</b>.↵Tom"
    status = page.get_by_role("status").inner_text()
    assert status.endswith(f"Partners: data/tables/matching/pairs/{explored.NAME}.")
    n_a = page.locator("#strip-a .token").count()
    assert status.startswith(f"{n_a} tokens of A, ")
    assert n_a != page.locator("#strip-b .token").count()
    assert page.locator("#rows .chip").count() > n_a


def test_pointing_marks_a_feature_its_tokens_and_its_partner(page):
    with page.expect_response("**/api/features") as response:
        ask(page, "Once upon a time, there was a cat.")
    answer = response.value.json()
    chips = page.locator("#rows td[data-side=A] .chip")
    chip = next(
        one for one in chips.all() if one.get_attribute("data-feature") not in ("3", "7", None)
    )
    feature = int(chip.get_attribute("data-feature"))
    chip.hover()
    fires = {
        i
        for i, token in enumerate(answer["a"]["tokens"])
        if feature in [f for f, _ in token["features"]]
    }
    marked = page.locator("#strip-a .token.t").all()
    assert fires
    assert {int(token.get_attribute("data-token")) for token in marked} == fires
    detail = page.locator("#detail").inner_text()
    partner = explored.partner_of(feature, 0)
    assert f"A feature {feature}\n" in detail
    assert f"Best partner: B feature {partner}\n" in detail
    assert f"r {feature / 100:.2f}, null r {feature / 1000:.2f}; mutual" in detail
    assert f"Fires on {len(fires)} of {len(answer['a']['tokens'])} tokens here" in detail
    names = answer["a"]["features"][str(feature)]["tokens"]
    assert names[0].replace(" ", "␣") in detail
    of_partner = page.locator(f"#rows .chip.partner[data-side=b][data-feature='{partner}']")
    assert of_partner.count() == page.locator("#rows .chip.partner").count()
    shared = page.locator("#rows .chip", has_text="↔").all()
    expected = 0
    for piece in answer["pieces"]:
        fired = {
            side: [f for i in piece[side] for f, _ in answer[side]["tokens"][i]["features"]]
            for side in "ab"
        }
        for side, other in ("ab", "ba"):
            known = [answer[side]["features"][str(f)]["partner"] for f in fired[side]]
            expected += sum(one is not None and one["feature"] in fired[other] for one in known)
    assert len(shared) == expected > 0
    page.get_by_label("Text", exact=True).hover()
    assert page.locator(".token.t").count() == 0
    chip.click()  # keeps it
    page.get_by_label("Text", exact=True).hover()
    assert page.locator("#strip-a .token.t").count() == len(fires)


def test_it_can_be_used_with_the_keyboard_alone(page):
    page.get_by_label("Text", exact=True).focus()
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#rows .chip")
    page.get_by_role("button", name="Show features").focus()
    page.keyboard.press("Tab")
    focused = "document.activeElement.getAttribute('aria-label')"
    first = page.evaluate(focused)
    assert re.match(r"A feature \d+, activation [\d.]+ on ", first)
    page.keyboard.press("ArrowRight")
    second = page.evaluate(focused)
    assert second != first
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) not in (first, second)
    page.keyboard.press("ArrowUp")
    assert page.evaluate(focused) == first
    assert first.split(",")[0] in page.locator("#detail").inner_text()
    page.keyboard.press("Enter")
    assert page.locator(".chip[aria-pressed=true]").count() > 0
    page.keyboard.press("Escape")
    assert page.locator(".chip[aria-pressed=true]").count() == 0
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def fired(page, side: str) -> list[str]:
    """Return the numbers and activations that a side shows, in their order."""
    found = page.locator(f"#rows .chip[data-side={side}]").all_inner_texts()
    return [" ".join(text.split()[:2]) for text in found]


def test_another_layer_and_other_sides(page):
    ask(page, "The dog saw a big red ball.")
    before = fired(page, "a")
    other = fired(page, "b")
    with page.expect_response("**/api/features"):
        page.get_by_label("A: model and SAE").select_option("seed_a/l1_mlp_out_seed0")
    expect(page.locator("#head-a")).to_have_text("A: seed_a, l1_mlp_out_seed0")
    assert fired(page, "a") != before
    assert fired(page, "b") == other
    page.get_by_label("B: model and SAE").select_option("seed_a/l1_mlp_out_seed0")
    expect(page.get_by_role("status")).to_contain_text("No partners")
    assert fired(page, "a") == fired(page, "b")


def test_fewer_features_a_token(page):
    ask(page, "The dog saw a big red ball.")
    n = page.locator("#rows .chip").count()
    page.get_by_label("Features a token").select_option("3")
    assert 0 < page.locator("#rows .chip").count() < n
    assert "+ 1" in page.locator("#rows td").first.inner_text()


def test_a_phone_needs_no_sideways_scrolling(browser, address):
    with browser.new_context(viewport={"width": 360, "height": 740}) as context:
        page = context.new_page()
        page.goto(f"{address}/features")
        ask(page, "Once upon a time, there was a cat. " * 3)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_pages_of_the_report_run_here_as_they_do_from_a_file(browser, root, tmp_path):
    """With styles, scripts and pictures of their own, and a link to the live page."""
    clone = shutil.copytree(root, tmp_path / "clone")
    report = clone / "report"
    (report / "pages").mkdir(parents=True)
    (report / "index.html").write_text(
        "<title>r</title><style>p { margin: 7px }</style><header><h1>Report</h1></header>"
        "<p id=x style='color: red'>-</p><img src=data:image/svg+xml,%3Csvg/%3E alt=''>"
        "<script>document.getElementById('x').textContent = 'ran'</script><a href=pages>Pages</a>"
    )
    (report / "pages" / "index.html").write_text("<script src=a.js></script>")
    (report / "pages" / "a.js").write_text("document.title = 'ran too'")
    with serving(clone) as at, browser.new_context() as context:
        page = context.new_page()
        said = []
        page.on("console", lambda message: said.append(message.text))
        page.goto(at)
        assert page.locator("#x").inner_text() == "ran"
        assert page.locator("#x").evaluate("e => getComputedStyle(e).marginTop") == "7px"
        page.get_by_role("link", name="Pages").click()
        page.wait_for_url("**/pages/")
        expect(page).to_have_title("ran too")
        page.goto(at)
        page.get_by_role("link", name="Features on demand").click()
        expect(page.get_by_role("button", name="Show features")).to_be_visible()
        assert said == []


def test_a_text_that_cannot_be_read_is_said(browser, address):
    """Apart from the others, as the browser notes the answer 400 on the console."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{address}/features")
        page.get_by_label("Text", exact=True).fill("   ")
        page.get_by_role("button", name="Show features").click()
        page.wait_for_selector("#status.wrong")
        assert page.get_by_role("status").inner_text() == "the text is empty"
        ask(page, "a cat")
        assert page.locator("#status.wrong").count() == 0


def test_a_page_of_another_site_learns_nothing(browser, address, tmp_path):
    """It can neither read an answer nor frame the page, and its question is refused."""
    with browser.new_context() as context:
        page = context.new_page()
        (tmp_path / "page.html").write_text("<title>x</title>")
        page.goto((tmp_path / "page.html").as_uri())
        statuses = []
        page.on("response", lambda response: statuses.append(response.status))
        asked = """async (address) => {
            const found = [];
            for (const [path, options] of [
                ["/api/choices", {}],
                ["/api/choices", { mode: "no-cors" }],
                ["/api/features", { method: "POST", body: "{}", mode: "no-cors" }],
                ["/api/features", { method: "POST", body: "{}",
                                    headers: { "Content-Type": "application/json" } }],
            ]) {
                try {
                    found.push(await (await fetch(address + path, options)).text());
                } catch { found.push(null); }
            }
            return found;
        }"""
        assert set(page.evaluate(asked, address)) <= {None, ""}
        assert set(statuses) <= {400, 403, 404, 405, 415}


def raw(address: str, path: str, host: str | None = None) -> tuple[int, str]:
    """Ask for `path` as it stands; clients that tidy it up would hide what a server does."""
    at = urlsplit(address)
    assert at.hostname
    connection = http.client.HTTPConnection(at.hostname, at.port)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host or at.netloc)
    connection.endheaders()
    response = connection.getresponse()
    found = response.status, response.read().decode()
    connection.close()
    return found


def test_what_a_process_refuses(address, root):
    (root / "report").mkdir()
    (root / "report" / "index.html").write_text("<body>the report</body>")
    assert raw(address, "/")[0] == 200
    assert "the report" in raw(address, "/")[1]
    for path in (
        "/../params.yaml",
        "/%2e%2e/params.yaml",
        "/..%2f..%2fparams.yaml",
        "//params.yaml",
    ):
        status, text = raw(address, path)
        assert status == 404
        assert "artifacts" not in text
    assert raw(address, "/", host="example.org")[0] == 400
    port = urlsplit(address).port
    assert raw(address, "/", host=f"localhost:{port}")[0] == 200


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "--host is '0.0.0.0'; the explorer asks for no password"),
        (["--a", "gpt2"], "--a is 'gpt2'; models with SAEs in "),
        (["--port", "{port}"], "--port is {port}: Address already in use; another one: --port 0"),
        (["--root", "nowhere"], "nowhere/params.yaml: cannot be read"),
    ],
)
def test_bad_options_are_one_line(address, root, options, said):
    port = str(urlsplit(address).port)
    given = [option.replace("{port}", port) for option in options]
    with start("--root", str(root), *given) as process:
        out, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert error.startswith(f"universality: {said.replace('{port}', port)}")
    assert error.count("\n") == 1
    assert out == ""
