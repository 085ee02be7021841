"""A session in a real browser: opened from disk, read by keyboard, its answers scored."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.reader_study.studies import METHODS, write_studies
from tests.report.browser import Page, open_page, require_browser

from lamella.reader_study.answers import read_answers
from lamella.reader_study.key import read_key
from lamella.reader_study.make import Made, Request, make_study
from lamella.reader_study.plan import Item
from lamella.reader_study.score import score

pytestmark = pytest.mark.browser

READY = "document.getElementById('session').dataset.ready === "
ENTER, BACKSPACE = "\ue007", "\ue003"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    require_browser()
    folder = tmp_path_factory.mktemp("reader")
    studies = write_studies(folder / "studies", cases=2)
    request = Request(studies, folder / "out", pairs=("cubic:mean", "real-thin:mean"), questions=("Sharpness", "Noise"))
    return make_study(request, lambda stage, fraction: None)


@pytest.fixture
def page(made: Made) -> Iterator[Page]:
    with open_page(made.request.out / "pages" / "session-R1.html") as page:
        yield page


def text(page: Page, selector: str) -> str:
    return str(page.run("return document.querySelector(arguments[0]).textContent", selector))


def opened(page: Page, item: Item) -> None:
    page.wait(READY + json.dumps(item.id))


def answer(item: Item) -> str:
    """What somebody types who always prefers the mean: 1 left, 3 right; marks from 1 to 5."""
    if item.kind == "likert":
        return "54" if item.methods[0] == "mean" else "22"
    return "13"[item.methods.index("mean")]


def saved_answers(page: Page, folder: Path) -> Path:
    """Presses "Save answers" and waits for the file."""
    page.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    page.run("document.querySelector('.rs-save').click()")
    file = folder / "answers-R1.json"
    end = time.monotonic() + 20
    while not file.is_file():
        assert time.monotonic() < end, f"nothing was saved; there is {list(folder.iterdir())}"
        time.sleep(0.05)
    return file


def leaving_warns(page: Page) -> bool:
    script = (
        "const e = new Event('beforeunload', {cancelable: true}); window.dispatchEvent(e); return e.defaultPrevented"
    )
    return bool(page.run(script))


def test_a_session_by_keyboard(made: Made, page: Page, tmp_path: Path) -> None:  # SPEC A26
    items = made.key.sessions[0].items
    assert "6 pairs" not in text(page, ".rs-sheet")
    assert "7 single images to rate, then 5 pairs to compare" in text(page, ".rs-sheet")
    assert "For research use only. Not a medical device. Not for diagnosis." in text(page, ".rs-sheet")
    assert not leaving_warns(page)
    page.keys(ENTER)
    for place, item in enumerate(items):
        opened(page, item)
        assert text(page, ".rs-count") == f"Item {place + 1} of {len(items)}"
        assert "whole HU" in text(page, ".rs-note")
        page.keys(*answer(item))
        if place == 1:
            page.keys(BACKSPACE)
            opened(page, items[0])
            assert page.run("return document.querySelectorAll('.rs-mark[aria-pressed=true]').length") == 2
            page.keys(ENTER)
            opened(page, item)
        if item.kind == "preference" and items[place - 1].kind == "likert":
            page.run("document.querySelector('.lv-toolbar button[data-key=lung]').click()")
            page.run("document.querySelector('.lv-toolbar button[data-key=coronal]').click()")
            page.settle()
        page.keys(ENTER)
    assert "All items are answered" in text(page, ".rs-sheet")
    assert leaving_warns(page)
    file = saved_answers(page, tmp_path)
    assert not leaving_warns(page)
    assert page.console() == []
    assert [url.split(":")[0] for url in page.requests()] in (["file"], ["file", "blob"])

    key = read_key(made.request.key_file)
    found = score(key, read_answers([file], key))
    assert found.readers[0].missing == 0
    assert (found.pairs[0].answers.first, found.pairs[0].answers.second) == (0, 2)
    assert [one.mean for one in found.questions[0].methods] == [2.0, 5.0, 2.0]
    assert found.again.choices_same == found.again.choices == 1
    written = json.loads(file.read_text())
    assert written["complete"] is True
    assert all(entry["milliseconds"] > 0 for entry in written["items"])
    assert written["items"][0]["windows"] == ["soft-tissue"]
    assert written["items"][0]["planes"] == ["all"]
    assert written["items"][-1]["windows"] == ["lung"]
    assert written["items"][-1]["planes"] == ["coronal"]


def test_answers_survive_a_reload_and_can_be_loaded(made: Made, page: Page, tmp_path: Path) -> None:
    items = made.key.sessions[0].items
    page.keys(ENTER)
    for item in items[:2]:
        opened(page, item)
        page.keys(*answer(item), ENTER)
    opened(page, items[2])
    page.driver.refresh()
    page.wait("document.querySelector('.rs-begin')")
    assert f"2 of {len(items)} items" in text(page, ".rs-sheet")
    assert text(page, ".rs-begin") == "Continue"
    page.keys(ENTER)
    opened(page, items[2])
    file = saved_answers(page, tmp_path)

    page.run("Storage.prototype.setItem = () => { throw new Error('no room') }; localStorage.clear()")
    page.keys("1")
    assert text(page, ".rs-saved") == "Not yet saved"
    page.driver.refresh()
    page.wait("document.querySelector('.rs-begin')")
    assert text(page, ".rs-begin") == "Begin"
    other = tmp_path / "other.json"
    found: dict[str, Any] = json.loads(file.read_text())
    for change, problem in (
        ({"study": "0" * 16}, "These answers belong to another study."),
        ({"reader": "R2"}, "These answers are of reader R2, this session is of R1."),
        ({"items": [{"id": "v0000000"}]}, "These answers are of other items."),
        ({"kind": "?"}, "This file holds no answers of a reader session."),
    ):
        other.write_text(json.dumps({**found, **change}))
        page.driver.find_element("css selector", "input[type=file]").send_keys(str(other))
        page.wait(f"document.querySelector('.rs-problem').textContent === {json.dumps(problem)}")
    page.driver.find_element("css selector", "input[type=file]").send_keys(str(file))
    opened(page, items[2])
    page.keys(BACKSPACE)
    opened(page, items[1])
    assert page.run("return document.querySelectorAll('.rs-mark[aria-pressed=true]').length") == 2
    assert page.console() == []


def test_an_incomplete_session_says_what_is_open(made: Made, page: Page, tmp_path: Path) -> None:
    items = made.key.sessions[0].items
    page.keys(ENTER)
    opened(page, items[0])
    page.keys("4")
    for item in items[1:]:
        page.keys(ENTER)
        opened(page, item)
        page.keys(*answer(item))
    page.keys(ENTER)
    assert "Not complete yet" in text(page, ".rs-sheet")
    assert text(page, ".rs-open") == "1"
    key = read_key(made.request.key_file)
    (given,) = read_answers([saved_answers(page, tmp_path)], key)
    assert given.missing == 1
    page.run("document.querySelector('.rs-open button').click()")
    opened(page, items[0])


def test_nothing_on_the_page_tells_a_method(made: Made, page: Page) -> None:
    """All that a reader can see or find in the elements, on an item of each kind."""
    items = made.key.sessions[0].items
    page.keys(ENTER)
    for item in items:
        opened(page, item)
        shown = str(page.run("return document.getElementById('session').outerHTML"))
        for word in (*METHODS, "case-0", "slices, every"):
            assert word not in shown
        assert "1 to 9" not in shown
        assert page.run("return document.querySelectorAll('.lv-pane').length") == len(item.methods)
        page.keys(ENTER)
