"""The node's page in headless Chromium: a new user drops a ZIP and looks at the result. Issue 27, item 2."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.dicom_builder import PATIENT_NAME
from tests.report.browser import Page, contrast, open_page, require_browser
from tests.running_node import (
    RunningNode,
    free_port,
    needed,
    node_config,
    running_node,
    start_node,
    storescp,
    study_at,
    wait_for,
)

pytestmark = pytest.mark.browser

TAB, ENTER = "\ue004", "\ue007"
PEER = free_port()
SECRET = "0123456789abcdef"
FOCUS = "const e = document.activeElement; return [e.tagName, e.id || e.dataset.act || e.textContent.trim()]"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[RunningNode]:
    require_browser()
    peer = {"name": "pacs", "aet": "PACS", "host": "127.0.0.1", "port": PEER}
    keys = {"pages": True, "close_after_s": 3600, "rules": {"thickness_mm": [2.0, 12.0]}, "peers": [peer]}
    with running_node(tmp_path_factory.mktemp("node"), tiny_model, **keys) as node:
        yield node


@pytest.fixture
def page(node: RunningNode) -> Iterator[Page]:
    with open_page(f"http://127.0.0.1:{node.http}/") as page:
        page.wait("document.getElementById('ready').dataset.ready === 'yes'")
        yield page
        assert page.console() == []
        own = (f"http://127.0.0.1:{node.http}/", "data:", "blob:")
        assert [one for one in page.requests() if not one.startswith(own)] == []


def zip_of(folder: Path, number: int, **how: object) -> Path:
    """A ZIP of a study, named after a patient, and a file that is none."""
    study_at(folder / f"Mustermann {number}", number, slices=6, side=64, **how)
    with zipfile.ZipFile(folder / f"Mustermann-{number}.zip", "w") as archive:
        for file in sorted((folder / f"Mustermann {number}").glob("*.dcm")):
            archive.write(file, f"Mustermann/{file.name}")
        archive.writestr("Mustermann/liesmich.txt", "hello")
    return folder / f"Mustermann-{number}.zip"


def drop(page: Page, *paths: Path) -> None:
    """Let files or folders fall on the page, as a hand does."""
    box = page.run("const b = document.getElementById('drop').getBoundingClientRect(); return [b.x + 40, b.y + 30]")
    data = {"items": [], "files": list(map(str, paths)), "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        place = {"type": kind, "x": box[0], "y": box[1], "data": data}
        page.driver.execute_cdp_cmd("Input.dispatchDragEvent", place)


def tab_to(page: Page, name: str) -> None:
    """Press Tab until something of this name has the focus, and can be seen to have it."""
    for _ in range(40):
        if page.run(FOCUS)[1] == name:
            outline = "const e = document.activeElement; const shown = e.closest('.file') || e;"
            assert page.run(f"{outline} return getComputedStyle(shown).outlineStyle") != "none"
            return
        page.keys(TAB)
    raise AssertionError(f"Tab does not reach {name}")


def test_a_new_user_drops_a_zip_and_looks_at_the_result(page: Page, node: RunningNode, tmp_path: Path) -> None:
    drop(page, zip_of(tmp_path, 1))
    page.wait("document.getElementById('upload-words').textContent.includes('6 images of one study taken')")
    assert page.run("return document.getElementById('upload-reasons').textContent") == (
        "Not taken: file 7, it is no DICOM file"
    )
    page.wait("document.querySelector('.study.fresh[data-state=sent]')", 60)  # closed at once, not after an hour
    text = page.run("return document.querySelector('.study').textContent")
    assert "CT, 6 slices of 5 mm \u2192 12 slices of 2.5 mm" in text
    assert not any(word in page.driver.page_source for word in ("Mustermann", PATIENT_NAME, "1.2.826"))
    page.driver.find_element("link text", "View").click()
    page.wait_for_pictures()
    picture = page.pixels("thin", "coronal").astype(int)
    assert picture.std() > 20
    assert "Mustermann" not in page.driver.title + page.driver.current_url
    log = node.log.read_text() + (node.state / "audit.jsonl").read_text()
    assert "Mustermann" not in log
    assert "1.2.826.0.1.3680043.8.498" not in log


def test_a_folder_is_dropped_and_its_result_downloaded_and_sent(page: Page, node: RunningNode, tmp_path: Path) -> None:
    zip_of(tmp_path, 2)
    drop(page, tmp_path / "Mustermann 2")
    page.wait("document.querySelector('.study.fresh[data-state=sent]')", 60)
    links = page.run("return [...document.querySelectorAll('.study.fresh a')].map((a) => a.getAttribute('href'))")
    status, _ = node.get(links[0])
    assert status == 200
    page.driver.execute_cdp_cmd("Page.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page.driver.find_element("css selector", ".study.fresh a[data-act=Download]").click()
    got = wait_for(lambda: next(tmp_path.glob("lamella-*.zip"), None), "the download", 20)
    with zipfile.ZipFile(got) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 12
    assert page.run("return document.querySelector('.study.fresh img').naturalWidth") > 50
    needed("storescp")
    with storescp(tmp_path / "received", PEER) as received:
        page.driver.find_element("css selector", ".study.fresh [data-act=send]").click()
        wait_for(lambda: len(list(received.iterdir())) == 12, "the result at the peer", 30)
        page.wait("document.querySelector('.study.fresh[data-state=sent]')?.textContent.includes('sent to pacs')", 20)


def test_the_keyboard_alone_does_it_all(page: Page, node: RunningNode, tmp_path: Path) -> None:
    """A refused study, from choosing its file to its removal."""
    zip_of(tmp_path, 3, spacing_mm=1.0, thickness_mm=1.0)
    tab_to(page, "files")
    page.driver.switch_to.active_element.send_keys(str(tmp_path / "Mustermann-3.zip"))
    page.wait("document.querySelector('.study.fresh[data-state=refused]')", 60)
    why = page.run("return document.querySelector('.study.fresh .why').textContent")
    assert "thickness" in why
    assert "change the rules" in why
    tab_to(page, "retry")
    page.keys(ENTER)
    wait_for(lambda: any(one["event"] == "retry" for one in node.audit()), "the wish to try again")
    page.wait("document.querySelector('.study.fresh[data-state=refused]')", 60)
    assert page.run("return document.activeElement.closest('.study') !== null")  # it was not lost with the old row
    tab_to(page, "remove")
    page.keys(ENTER)
    assert page.run("return document.activeElement.textContent") == "Remove for good?"
    page.keys(ENTER)
    page.wait("!document.querySelector('.study.fresh')", 20)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_can_be_read_in_light_and_dark(page: Page, theme: str) -> None:
    page.run("document.documentElement.dataset.theme = arguments[0]", theme)
    page.run("""
        const one = document.createElement("li");
        one.className = "study"; one.dataset.state = "failed";
        one.innerHTML = '<h3>x <span class="state">y</span></h3><p class="what">z</p><p class="why">w</p>' +
            '<div class="acts"><button class="main">v</button></div>';
        document.getElementById("list").append(one);
        document.getElementById("trouble").hidden = document.getElementById("none").hidden = false;
    """)
    for selector in (
        *("h1", ".facts", ".notice", ".bar a", ".ready", ".drop-words", ".drop .note", ".file.main", ".counts li"),
        *(".study h3", "[data-state=failed] .state", ".what", ".why", ".acts .main", ".wrong", ".empty"),
    ):
        assert contrast(page, selector) >= 4.5, selector


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_sticks_out(page: Page, width: int) -> None:
    page.driver.set_window_size(width, 900)
    page.settle()
    assert page.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def test_controls_have_names(page: Page) -> None:
    """WCAG 2.2, 4.1.2 and 1.3.1: by Chromium's own accessibility tree."""
    tree = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    controls = [
        (one["role"]["value"], one.get("name", {}).get("value", ""))
        for one in tree
        if one.get("role", {}).get("value") in ("button", "link", "textbox", "progressbar", "combobox")
    ]
    assert len(controls) >= 5
    assert [role for role, name in controls if not name.strip()] == []
    assert page.run("return document.documentElement.lang") == "en"


def test_the_page_says_when_the_node_is_gone_and_back(tmp_path: Path, tiny_model: Path) -> None:
    require_browser()
    (tmp_path / "token").write_text(SECRET)
    config = node_config(tmp_path, tiny_model, http={"token_file": str(tmp_path / "token")})
    node = start_node(config, waits=False)
    wait_for(lambda: node.get("/health")[0] == 200 if node.log.read_text() else False, "the node")
    try:
        with open_page(f"http://127.0.0.1:{node.http}/") as page:
            assert page.driver.current_url.endswith("/login")
            page.keys("wrong", ENTER)
            page.wait("document.getElementById('wrong')")
            page.keys(SECRET, ENTER)
            page.wait("document.getElementById('ready')?.dataset.ready === 'yes'")
            assert page.run("return document.cookie") == ""
            noise = [one for one in page.console() if "401" not in one]
            assert noise == []
            node.end()
            page.wait("document.getElementById('ready').textContent === 'the node does not answer'", 20)
            assert len(page.console()) > 0
    finally:
        if node.process.poll() is None:
            node.process.kill()
            node.process.wait()
