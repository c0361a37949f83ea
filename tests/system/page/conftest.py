"""A browser for the page: Chromium of this machine, or no test of it."""

import os
import shutil

import pytest
from playwright.sync_api import sync_playwright

from tests import page_world as world
from tests.science.artifacts_world import artifact


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium; without one the tests are skipped, or fail where it is required."""
    program = os.environ.get("FIRST_CHROMIUM") or shutil.which("chromium")
    if not program:
        reason = "no chromium here: install it, or name one in FIRST_CHROMIUM"
        required = os.environ.get("FIRST_REQUIRE_CHROMIUM") == "1"
        pytest.fail(reason) if required else pytest.skip(reason)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """The page of a small scale, with an ablation, as a file."""
    folder = world.make_results(tmp_path_factory.mktemp("page"))
    world.add_ablation(folder)
    artifact("page", **world.words(folder))
    return (folder / "index.html").as_uri()


@pytest.fixture
def visit(browser, address):
    """A function that opens the page, and a list of what it said, loaded or failed at."""
    contexts, said = [], []

    def call(width=1280, fragment="", before=None, **options):
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("requestfailed", lambda request: said.append(request.url[:80]))
        own = (address, "data:", "about:")
        page.on("request", lambda r: None if r.url.startswith(own) else said.append(r.url[:80]))
        if before:
            page.goto(before)
        page.goto(address + fragment)
        return page

    yield call
    for context in contexts:
        context.close()
    assert said == []
