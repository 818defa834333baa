"""One headless Chromium for all tests of pages."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
REQUIRED = "UNIVERSALITY_REQUIRE_SERVERS"
QUIET = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
"""Else the browser itself would ask its maker for this and that."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A browser; without one the tests are skipped, or fail where all must run."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        lacking = f"there is no {NAMES[0]}: run `sh scripts/servers.sh install` as root"
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(lacking)
        pytest.skip(lacking)
    # Its sandbox does not start for root.
    arguments = [*QUIET, "--no-sandbox"] if os.geteuid() == 0 else QUIET
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=arguments)
        yield opened
        opened.close()
