"""The page as a reader meets it: mouse, keyboard, no JavaScript, small screens, axe-core."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe

CELL = "cell-alder-first_ts-in_domain-csqa"
OPEN = f"dialog[id={CELL}]"
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
FOCUS = "document.activeElement.id"


def violations(page) -> list[tuple]:
    """Violations of axe's rules, of any impact: (rule, first element)."""
    found = Axe().run(page).response["violations"]
    return [(own["id"], own["nodes"][0]["html"][:200]) for own in found]


def test_verdicts_come_first(visit):
    page = visit()
    assert page.title() == "FIRST, reproduced: scale tiny"
    sections = page.eval_on_selector_all("main > section", "all => all.map(one => one.id)")
    assert sections[:3] == ["verdicts", "table1", "figures"]
    assert page.locator("h1").inner_text().endswith("undecided")
    assert page.locator(".claims tbody tr").count() == 5
    assert page.locator("a.open").count() == page.locator("dialog").count() == 24


def test_images_are_drawn(visit):
    page = visit(fragment=f"#{CELL}")
    page.locator("details.ablation summary").first.evaluate("it => it.parentNode.open = true")
    page.eval_on_selector_all("img", "all => all.forEach(one => one.loading = 'eager')")
    page.wait_for_function("[...document.querySelectorAll('main img')].every(i => i.naturalWidth)")
    page.wait_for_function(f"document.querySelector('{OPEN} img').naturalWidth")
    assert page.eval_on_selector_all("img", "all => all.filter(one => !one.alt).length") == 0


def test_a_cell_opens_by_mouse(visit):
    page = visit()
    page.click(f"#at-{CELL}")
    assert page.locator(OPEN).is_visible() and page.url.endswith(f"#{CELL}")
    dialog = page.locator(OPEN).inner_text()
    for text in ("Seeds", "What it costs", "snakemake --profile slurm", "metrics.json", "SHA-256"):
        assert text in dialog
    page.click(f"{OPEN} .close")
    assert not page.locator(OPEN).is_visible() and page.evaluate(FOCUS) == f"at-{CELL}"
    page.wait_for_url(lambda url: "#" not in url)
    page.click(f"#at-{CELL}")
    page.mouse.click(5, 400)  # beside it
    assert not page.locator(OPEN).is_visible()


def test_a_cell_opens_by_keyboard(visit):
    page = visit()
    page.focus("#table1 .families a:last-child")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUS) == f"at-{CELL}":
            break
    assert page.evaluate(FOCUS) == f"at-{CELL}"
    page.keyboard.press("Enter")
    assert page.locator(OPEN).is_visible()
    inside = "document.activeElement.closest('dialog')?.id"
    for _ in range(3):  # the page behind it is out of reach
        assert page.evaluate(inside) == CELL
        page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    assert not page.locator(OPEN).is_visible() and page.evaluate(FOCUS) == f"at-{CELL}"


CLOSINGS = {
    "back": lambda page: page.go_back(),
    "escape": lambda page: page.keyboard.press("Escape"),
    "link": lambda page: page.click(f"{OPEN} .close"),
    "outside": lambda page: page.mouse.click(5, 400),
}


@pytest.mark.parametrize("closing", CLOSINGS)
def test_a_closed_cell_leaves_no_step_in_the_history(visit, closing):
    page = visit(before="about:blank")
    for _ in range(2):
        page.click(f"#at-{CELL}")
        assert page.locator(OPEN).is_visible() and page.url.endswith(f"#{CELL}")
        CLOSINGS[closing](page)
        page.wait_for_url(lambda url: "#" not in url)
        assert not page.locator(OPEN).is_visible() and page.evaluate(FOCUS) == f"at-{CELL}"
    page.go_forward()
    assert page.locator(OPEN).is_visible()
    page.go_back()
    page.go_back()
    assert page.url == "about:blank"


def test_selecting_text_beyond_the_edge_closes_nothing(visit):
    page = visit(fragment=f"#{CELL}")
    command = page.locator(f"{OPEN} pre").first
    command.scroll_into_view_if_needed()
    box = command.bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(page.viewport_size["width"] - 2, box["y"] + box["height"] / 2)
    page.mouse.up()
    assert page.locator(OPEN).is_visible()


def test_a_cell_that_came_by_its_address_closes_in_place(visit):
    page = visit(fragment=f"#{CELL}", before="about:blank")
    page.keyboard.press("Escape")
    page.wait_for_url(lambda url: "#" not in url)
    page.go_back()
    assert page.url == "about:blank"


def test_hashes_are_whole(visit):
    page = visit(fragment=f"#{CELL}")
    hashes = page.locator(f"{OPEN} .inputs code").all_inner_texts()
    assert hashes and all(re.fullmatch("[0-9a-f]{64}", own) for own in hashes)


def test_an_address_names_a_cell(visit):
    page = visit(fragment=f"#{CELL}")
    assert page.locator(OPEN).is_visible()
    page.keyboard.press("Escape")
    assert not page.locator(OPEN).is_visible() and page.evaluate(FOCUS) == f"at-{CELL}"


def test_without_javascript(visit):
    page = visit(java_script_enabled=False)
    for text in ("Table 1", "Stages and cost", "FIRST has a lower ECE than fine-tuning"):
        assert page.get_by_text(text).first.is_visible()
    assert page.locator("dialog:visible").count() == 0
    page.click(f"#at-{CELL}")
    assert page.locator(OPEN).is_visible() and page.locator("dialog:visible").count() == 1
    assert page.locator(f"{OPEN} .close").is_visible()
    page.click(f"{OPEN} .close")
    assert page.locator("dialog:visible").count() == 0


@pytest.mark.parametrize("width", [1024, 768, 375, 320])
def test_nothing_scrolls_sideways(visit, width):
    page = visit(width)
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    assert page.evaluate(WIDER) <= 0
    page.click(f"#at-{CELL}")
    wider = "one => one.scrollWidth - one.clientWidth"
    assert page.locator(OPEN).evaluate(wider) <= 0 and page.evaluate(WIDER) <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
def test_axe_finds_nothing(visit, scheme, width):
    page = visit(width, color_scheme=scheme)
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    assert violations(page) == []
    page.click(f"#at-{CELL}")
    assert violations(page) == []
