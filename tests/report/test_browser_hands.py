"""Linked cursors, presets, keys and pointer in headless Chromium."""

from __future__ import annotations

import numpy as np
import pytest
from tests.report.browser import Page, require_browser

from lamella.window import LUNG, SOFT_TISSUE

pytestmark = pytest.mark.browser

UP, RIGHT, PAGE_UP, HOME, ESCAPE = "\ue013", "\ue014", "\ue00e", "\ue011", "\ue00c"
VALUES = "return [...document.querySelectorAll('.lv-value')].map((o) => o.textContent)"
PANES = ("c0-thick", "c0-thin-0", "c0-truth", "c0-error-0")


@pytest.fixture(scope="module", autouse=True)
def browser() -> None:
    require_browser()


def test_a_click_moves_the_cursor_of_every_pane(page: Page) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    before = {pane: page.pixels(pane, "coronal") for pane in PANES}
    values = page.run(VALUES)
    canvas = page.driver.find_element("css selector", "[data-pane='c0-thin-0'] canvas")
    ActionChains(page.driver).move_to_element_with_offset(canvas, 80, -40).click().perform()
    page.settle()
    x, y, z = page.cursor()
    pixel = page.run("return lamella.viewer.panes.get('c0-thin-0').views[0].pixel")
    assert x == pytest.approx(80 * pixel, abs=1.0)
    assert z == pytest.approx(40 * pixel, abs=1.0)
    assert y == pytest.approx(0.0, abs=0.01)
    for pane, image in before.items():
        assert np.any(page.pixels(pane, "coronal") != image), pane
    assert values != page.run(VALUES)


def test_all_planes_follow_in_all_panes(page: Page) -> None:
    page.run("lamella.viewer.setPlane('all'); lamella.viewer.setCross(false)")
    page.settle()
    planes = ("axial", "coronal", "sagittal")
    before = {(pane, plane): page.pixels(pane, plane) for pane in PANES for plane in planes}
    page.run("lamella.viewer.setCursor([14, 19, 12])")
    page.settle()
    for (pane, plane), image in before.items():
        assert np.any(page.pixels(pane, plane)[30:, :, :] != image[30:, :, :]), (pane, plane)


def test_the_values_shown_are_those_at_the_cursor(page: Page) -> None:
    page.run("lamella.viewer.setCursor([14, 19, 12])")
    page.settle()
    for pane, text in zip(PANES, page.run(VALUES), strict=True):
        value = page.run("return lamella.viewer.valueAt(arguments[0], lamella.viewer.getCursor())", pane)
        assert text.endswith(" HU")
        assert float(text.split()[0].replace("\u2212", "-")) == value
        assert text.startswith("+") == (pane == "c0-error-0" and value > 0)
    assert page.run("return document.querySelector('.lv-place').textContent") == "L 14.0  P 19.0  S 12.0 mm"


def test_presets_change_the_picture_and_its_numbers(page: Page) -> None:
    soft = page.pixels("c0-truth", "coronal").astype(int)
    page.run("document.querySelector(\".lv-toolbar [data-key='lung']\").click()")
    page.settle()
    assert np.abs(page.pixels("c0-truth", "coronal").astype(int) - soft).mean() > 20
    lung = {"name": "lung", "centre": LUNG.centre_hu, "width": LUNG.width_hu}
    assert page.run("return lamella.viewer.getWindow()") == lung
    pressed = page.run("return [...document.querySelectorAll('[aria-pressed=true]')].map((b) => b.dataset.key)")
    assert "lung" in pressed
    assert "soft-tissue" not in pressed
    page.run("""
        const input = document.querySelectorAll(".lv-number-field input")[1];
        input.value = 900;
        input.dispatchEvent(new Event("change"));
    """)
    assert page.run("return lamella.viewer.getWindow()") == {"name": "", "centre": LUNG.centre_hu, "width": 900}


def test_keys_move_the_cursor(page: Page) -> None:
    page.focus("c0-thin-0")
    start = page.cursor()
    page.keys(RIGHT)
    assert page.cursor()[0] == pytest.approx(start[0] + 1.5, abs=0.01)
    page.keys(UP, UP)
    assert page.cursor()[2] == pytest.approx(start[2] + 2.0, abs=0.01)
    page.keys(PAGE_UP)
    assert abs(page.cursor()[1] - start[1]) > 0.5
    page.run("lamella.viewer.setPlane('axial')")
    page.focus("c0-thin-0")
    page.keys(HOME)
    assert page.cursor()[2] == pytest.approx(-30.0, abs=0.1)


def test_keys_change_what_is_shown(page: Page) -> None:
    page.focus("c0-thin-0")
    page.keys("s")
    assert page.run("return lamella.viewer.getPlane()") == "sagittal"
    page.keys("m")
    assert page.run("return document.querySelectorAll('[data-pane=\"c0-truth\"] canvas').length") == 4
    page.keys("a", "w")
    assert page.run("return [lamella.viewer.getPlane(), lamella.viewer.getWindow().name]") == ["axial", "lung"]
    page.keys("+")
    assert page.run("return lamella.viewer.zoom") == 1.25
    page.keys("f", "i", "x")
    assert page.run("return [lamella.viewer.zoom, lamella.viewer.smooth, lamella.viewer.cross]") == [1, False, False]
    page.keys("1")
    assert page.run("return lamella.viewer.shown") == ["c0-thick"]
    page.keys("4")
    assert page.run("return lamella.viewer.shown") == ["c0-truth"]
    page.keys("0")
    assert page.run("return lamella.viewer.shown") == list(PANES)


def test_keys_stay_with_fields(page: Page) -> None:
    page.run("document.querySelector('.lv-number-field input').focus()")
    page.keys("a")
    assert page.run("return lamella.viewer.getPlane()") == "coronal"


@pytest.mark.parametrize(("pane", "step_mm"), [("c0-thin-0", 1.0), ("c0-thick", 5.0)])
def test_the_wheel_takes_the_slices_of_the_pane_below_it(page: Page, pane: str, step_mm: float) -> None:
    page.run("lamella.viewer.setPlane('axial'); lamella.viewer.setCursor([0, 0, 2.5])")
    page.settle()
    start = page.cursor()[2]
    wheel = """
        const canvas = document.querySelector(`[data-pane="${arguments[0]}"] canvas`);
        for (let n = 0; n < arguments[1]; n++) canvas.dispatchEvent(new WheelEvent("wheel", {deltaY: -100, cancelable: true}));
    """
    page.run(wheel, pane, 1)
    first = page.cursor()[2]
    page.run(wheel, pane, 2)
    assert page.cursor()[2] - first == pytest.approx(2 * step_mm, abs=0.01)
    assert first > start


def test_a_right_drag_changes_the_window(page: Page) -> None:
    page.run("document.querySelector('[data-pane=\"c0-thin-0\"] canvas').scrollIntoView({block: 'center'})")
    box = page.run(
        "const b = document.querySelector('[data-pane=\"c0-thin-0\"] canvas').getBoundingClientRect(); return [b.x, b.y]"
    )
    for kind, dx, dy in (("mousePressed", 0, 0), ("mouseMoved", 50, 10), ("mouseReleased", 50, 10)):
        place = {"x": box[0] + 100 + dx, "y": box[1] + 100 + dy, "button": "right", "buttons": 2, "clickCount": 1}
        page.driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": kind} | place)
    page.settle()
    window = page.run("return lamella.viewer.getWindow()")
    assert (window["centre"], window["width"]) == (SOFT_TISSUE.centre_hu + 20, SOFT_TISSUE.width_hu + 100)


def test_panes_are_chosen_by_buttons(page: Page) -> None:
    page.run("document.querySelector(\".lv-toolbar [data-key='c0-spread']\").click()")
    page.wait("lamella.marks['c0-spread']")
    page.settle()
    assert page.run("return lamella.viewer.shown") == [*PANES, "c0-spread"]
    image = page.pixels("c0-spread", "coronal").astype(int)
    assert np.abs(image[..., 0] - image[..., 2]).max() > 30  # in colours, not grey
    assert page.run("return document.querySelector('[data-pane=\"c0-spread\"] .lv-value').textContent") == "20.0 HU"
    page.run("document.querySelector(\".lv-toolbar [data-key='c0-thick']\").click()")
    assert "c0-thick" not in page.run("return lamella.viewer.shown")


def test_others_may_listen(page: Page) -> None:
    heard = page.run("""
        const heard = [], v = lamella.viewer;
        const off = v.onCursor((mm) => heard.push(mm.map(Math.round)));
        v.setCursor([5, 6, 7]);
        off();
        v.setCursor([1, 1, 1]);
        return heard;
    """)
    assert heard == [[5, 6, 7]]


def test_the_fourth_quarter_shows_the_largest_values_of_a_slab(page: Page) -> None:
    """Issue 27, item 2: against the largest of the values that the page itself holds."""
    page.run("lamella.viewer.setPlane('all'); lamella.viewer.setCross(false); lamella.viewer.setCursor([14, 19, 12])")
    page.settle()
    largest = """
        const pane = lamella.viewer.panes.get(arguments[0]), view = pane.views[3], plane = view.plane;
        const at = LamellaPlanes.indexAt(pane.grid[plane.through], lamella.viewer.at[plane.through]);
        const slab = pane.planeOf(plane, at), cuts = [];
        for (let n = at - 10; n <= at + 10; n++) cuts.push(pane.cutAt(plane, n));
        const worst = slab.map((hu, i) => Math.abs(hu - (arguments[1]
            ? cuts.map((cut) => cut[i]).reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a))
            : Math.max(...cuts.map((cut) => cut[i])))));
        return [Math.max(...worst), plane.name, view.canvas.getAttribute("aria-label"), slab.some((hu, i) => hu > cuts[10][i])];
    """
    for pane, error in (("c0-truth", False), ("c0-error-0", True)):
        worst, plane, name, differs = page.run(largest, pane, error)
        assert (worst, plane, differs) == (0, "projection", True)
        assert name.endswith(", axial maximum projection")
    heights = "[...document.querySelectorAll('[data-pane=\"c0-truth\"] canvas')].map((c) => c.clientHeight)"
    assert len(set(page.run(f"return {heights}")[2:])) == 1


@pytest.mark.parametrize("plane", ["axial", "all"])
def test_no_pane_is_alone_in_its_row(page: Page, plane: str) -> None:
    """Issue 27, item 2: four panes stand in one row, in two rows of two, or below each other."""
    page.run("lamella.viewer.setPlane(arguments[0])", plane)
    for width, expected in ((1900, None), (1280, None), (1050, 2), (600, 1)):
        page.driver.set_window_size(width, 900)
        page.settle()
        tops = page.run("return [...document.querySelectorAll('.lv-pane')].map((one) => one.offsetTop)")
        rows = {tops.count(top) for top in tops}
        assert len(tops) == len(PANES)
        assert rows <= {4, 2, 1}
        assert len(rows) == 1
        assert expected is None or rows == {expected}
    page.driver.set_window_size(1280, 900)


def test_a_question_mark_opens_the_keys_and_closes_them(page: Page) -> None:
    """Issue 27, item 2: from anywhere on the page, by Escape or the same key, and the focus comes back."""
    page.focus("c0-thin-0")
    shown = "return document.querySelector('.lv-keys').open"
    page.keys("?")
    assert page.run(shown)
    assert "next or previous window" in page.run("return document.querySelector('.lv-keys').innerText")
    page.keys("s")
    assert page.run("return lamella.viewer.getPlane()") == "coronal"
    page.keys(ESCAPE)
    assert not page.run(shown)
    assert page.run("return document.activeElement.className") == "lv-canvas"
    page.run("document.activeElement.blur()")
    page.keys("?")
    assert page.run(shown)
    page.keys("?")
    assert not page.run(shown)
    page.run("document.querySelector('.lv-help').click()")
    assert page.run(shown)
    page.run("document.querySelector('.lv-keys').close()")
    page.run("document.querySelector('.lv-number-field input').focus()")
    page.keys("?")
    assert not page.run(shown)
