"""A page in headless Chromium asks for nothing, is there at once, and says what failed."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from tests.report.browser import Page, open_page, require_browser
from tests.report.one_page import show
from tests.report.results_builder import answers_of, body, grid, thickened
from tests.report.test_study import REPORT

from lamella.report.pack import PageVolume
from lamella.report.study import render_study
from lamella.volume import Volume

pytestmark = pytest.mark.browser

FIRST_PICTURE_MS = 3000


@pytest.fixture(scope="module", autouse=True)
def browser() -> None:
    require_browser()


def test_no_request_no_message_no_failed_pane(evaluation_page: Path) -> None:
    with open_page(evaluation_page) as page:
        page.wait_for_pictures()
        page.run("document.querySelector('#chooser-place select').value = 'case-1'")
        page.run("document.querySelector('#chooser-place select').dispatchEvent(new Event('change'))")
        page.wait_for_pictures()
        assert page.run("return lamella.case") == "case-1"
        assert set(page.run("return lamella.marks")) == {"c1-thick", "c1-thin-0", "c1-truth", "c1-error-0"}
        assert page.run("return lamella.errors") == {}
        asked = [url for url in page.requests() if not url.startswith(("data:", "blob:"))]
        assert asked == [evaluation_page.resolve().as_uri()]
        assert page.console() == []


def test_the_policy_stops_what_would_go_out(evaluation_page: Path) -> None:
    """The test above would see a request: one that is tried is stopped and reported."""
    with open_page(evaluation_page) as page:
        page.wait_for_pictures()
        page.run("new Image().src = 'https://x.invalid/a.png'; fetch('https://x.invalid/').catch(() => 0);")
        time.sleep(0.3)
        assert sum("Content Security Policy" in line for line in page.console()) >= 2


@pytest.mark.slow
def test_first_picture_of_a_whole_chest_within_three_seconds(tmp_path: Path) -> None:
    """275 slices of 512 x 512 with thick, thin, truth, error and spread, on a page below 50 MB."""
    shape = (275, 512, 512)
    geometry = grid(shape, 1.0, 0.75)
    small = body(grid((275, 128, 128), 1.0, 0.75))
    rng = np.random.default_rng(0)
    wide = np.full(shape, -1000, np.int16)
    wide[:, 64:448, 64:448] = small[:, 16:112, 16:112].repeat(4, 1).repeat(4, 2)
    wide += rng.integers(-15, 16, (275, 1, 512), dtype=np.int16) + rng.integers(-15, 16, (1, 512, 512), dtype=np.int16)
    thin, truth = Volume(wide, geometry), Volume(np.roll(wide, 1, axis=2), geometry)
    panes = [
        PageVolume("thick", "Thick", "thick", Volume(wide[2::5].copy(), geometry.with_slices(55, 5.0, 2.0, 5.0))),
        PageVolume("thin", "Thin", "thin", thin),
        PageVolume("truth", "Truth", "truth", truth),
        PageVolume("error", "Error", "error", minus=("thin", "truth")),
        PageVolume("spread", "Spread", "spread", Volume(np.abs(wide // 64).astype(np.int16), geometry)),
    ]
    out = show(tmp_path, panes, np.zeros(3))
    assert out.stat().st_size < 50e6
    with open_page(out) as page:
        page.wait_for_pictures()
        marks = page.run("return lamella.marks")
        assert set(marks) == {"thick", "thin", "truth", "error", "spread"}
        assert min(marks.values()) <= FIRST_PICTURE_MS
        assert page.run("return lamella.errors") == {}


def test_a_damaged_volume_is_named_and_the_others_are_shown(evaluation_page: Path, tmp_path: Path) -> None:
    text = evaluation_page.read_text(encoding="utf-8")
    start = text.index('id="volume-c0-truth">') + len('id="volume-c0-truth">')
    broken = tmp_path / "page.html"
    broken.write_text(text[: start + 400] + "AAAA" + text[start + 404 :], encoding="utf-8")
    with open_page(broken) as page:
        page.wait_for_pictures()
        assert set(page.run("return lamella.errors")) == {"c0-truth", "c0-error-0"}
        assert set(page.run("return lamella.marks")) == {"c0-thick", "c0-thin-0"}
        assert page.run("return document.querySelectorAll('.lv-failed').length") == 2


def test_a_viewer_that_is_destroyed_leaves_nothing(evaluation_page: Path) -> None:
    with open_page(evaluation_page) as page:
        page.wait_for_pictures()
        page.run("lamella.viewer.destroy()")
        assert page.run("return document.getElementById('viewer').childElementCount") == 0
        page.driver.set_window_size(900, 700)
        page.settle()
        assert page.console() == []


def test_the_page_of_a_study(tmp_path: Path) -> None:
    truth = Volume(body(grid()), grid())
    thick = thickened(truth)
    answers = [(name, Volume(hu, truth.geometry)) for name, hu in answers_of(truth, thick).items()][:2]
    spread = Volume(np.full(truth.hu.shape, 12, np.int16), truth.geometry)
    render_study(tmp_path / "page.html", thick, answers, spread, REPORT)
    with open_page(tmp_path / "page.html") as page:
        page.wait_for_pictures()
        assert set(page.run("return lamella.marks")) == {"thick", "other-1", "thin", "spread"}
        page.run("return lamella.viewer.show(['thin', 'other-1', 'change-other-1'])")
        page.settle()
        at = [float(v) for v in truth.geometry.position(31, 20, 24)]
        thin, other, change = (value_at(page, name, at) for name in ("thin", "other-1", "change-other-1"))
        assert change == thin - other
        assert page.console() == []
        assert page.run("return lamella.errors") == {}


def value_at(page: Page, pane: str, mm: list[float]) -> float:
    return float(page.run("return lamella.viewer.valueAt(arguments[0], arguments[1])", pane, mm))
