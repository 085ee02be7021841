"""Light, dark, narrow, by keyboard and aloud: a page in headless Chromium is for everybody."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.report.browser import Page, contrast, open_page, require_browser

pytestmark = pytest.mark.browser

TAB = "\ue004"


@pytest.fixture(scope="module", autouse=True)
def browser() -> None:
    require_browser()


def test_tabs_reach_every_control_and_show_where_they_are(page: Page) -> None:
    page.run("document.querySelector('.lv-toolbar button').focus()")
    seen = []
    for _ in range(32):
        page.keys(TAB)
        seen.append(
            page.run("""
                const e = document.activeElement;
                return [e.tagName, e.getAttribute("aria-label") || e.textContent, getComputedStyle(e).outlineStyle];
            """)
        )
    names = [name for _, name, _ in seen]
    for wanted in ("Coronal", "Lung", "Window centre, HU", "Truth, 1 mm", "Position of the plane, mm"):
        assert wanted in names
    assert [name for name in names if name.endswith(", coronal")] == [
        "Thick, 5 mm, coronal",
        "Lamella mean, coronal",
        "Truth, 1 mm, coronal",
        "Lamella mean \u2212 truth, coronal",
    ]
    assert all(outline != "none" for tag, _, outline in seen if tag in ("BUTTON", "CANVAS", "INPUT"))


def test_what_the_cursor_finds_is_said_aloud(page: Page) -> None:
    page.run("lamella.viewer.setCursor([14, 19, 12])")
    page.wait("document.querySelector('.lv-live').textContent.includes('z 12.0 mm')")
    said = page.run("return document.querySelector('.lv-live').textContent")
    value = page.run("return lamella.viewer.valueAt('c0-truth', [14, 19, 12])")
    assert f"Truth, 1 mm {value:.0f} HU" in said
    assert page.run("return document.querySelector('.lv-live').getAttribute('aria-live')") == "polite"
    assert page.run("""
        const canvas = document.querySelector("canvas");
        return document.getElementById(canvas.getAttribute("aria-describedby")).textContent.includes("move the cursor");
    """)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(page: Page, theme: str) -> None:
    page.run("document.documentElement.dataset.theme = arguments[0]", theme)
    for selector in (
        *("h1", ".facts", ".notice", ".bar a", ".card span", ".card-good strong", ".warnings li", ".note", "caption"),
        *("td.best b", "td small", "thead th", ".lv-toolbar button[aria-pressed=true]", ".lv-legend", ".lv-facts"),
        "figcaption",
    ):
        assert contrast(page, selector) >= 4.5, selector


def test_dark_by_the_systems_wish_and_by_the_button(page: Page) -> None:
    def background() -> int:
        colour = page.run("return getComputedStyle(document.body).backgroundColor")
        return int(colour.split("(")[1].split(",")[0])

    wish = [{"name": "prefers-color-scheme", "value": "dark"}]
    assert background() > 200
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wish})
    assert background() < 50
    page.run("document.getElementById('theme').click()")
    assert background() > 200
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    page.run("document.getElementById('theme').click()")
    assert background() < 50
    ink = page.run("return getComputedStyle(document.querySelector('.plot svg text')).fill")
    assert int(ink.split("(")[1].split(",")[0]) > 200


@pytest.mark.parametrize("width", [520, 1280, 1920])
def test_nothing_sticks_out_of_the_window(evaluation_page: Path, width: int) -> None:
    with open_page(evaluation_page, size=(width, 900)) as page:
        page.wait_for_pictures()
        # with many methods the best one may stand in a column out of sight, with a word for screen readers
        page.run(
            "document.querySelectorAll('details').forEach((one) => { one.open = true; });"
            "const more = '<td>0.1234</td>'.repeat(30) + '<td class=\"best\">0.1<span class=\"aloud\">best</span></td>';"
            "document.querySelectorAll('.scroll tbody tr').forEach((row) => row.insertAdjacentHTML('beforeend', more));"
        )
        assert page.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        sizes = page.run(
            "return [...document.querySelectorAll('.lv-pane canvas')].map((c) => [c.clientWidth, c.clientHeight])"
        )
        assert len(sizes) == 4
        assert max(w for w, _ in sizes) - min(w for w, _ in sizes) <= 1  # all show the same millimetres at one scale
        aspect = page.run("const b = lamella.viewer.box; return (b[2][1] - b[2][0]) / (b[0][1] - b[0][0])")
        assert sizes[0][1] / sizes[0][0] == pytest.approx(aspect, rel=0.02)
