"""The OHIF viewer (npm, `@ohif/app`) over Orthanc's DICOMweb shows a study with both of its series. Issue 27, item 4."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.report.browser import Page, open_page, require_browser
from tests.running_node import STUDY, study_at, wait_for
from tests.running_ohif import ohif, running_ohif
from tests.running_orthanc import running_orthanc

from lamella.cli import main

pytestmark = pytest.mark.browser

WEB_GL = ("--enable-unsafe-swiftshader", "--use-angle=swiftshader")
SHOWN = "document.body.innerText"


def picture(page: Page) -> NDArray[np.float64]:
    """The middle of the viewport, where the body is."""
    shown = imagecodecs.png_decode(page.driver.get_screenshot_as_png())
    return np.asarray(shown[300:600, 600:1050, :3].mean(axis=2), np.float64)


def test_ohif_shows_both_series(tmp_path: Path, tiny_model: Path) -> None:
    require_browser()
    ohif()
    thick, thin = study_at(tmp_path / "thick", slices=6, side=64), tmp_path / "thin"
    words = ["--model", str(tiny_model), "--spacing-mm", "2.5", "--quiet"]
    assert main(["thin", str(thick), str(thin), *words]) == 0
    with running_orthanc(tmp_path / "orthanc", "libOrthancDicomWeb.so", "orthanc-dicomweb") as server:
        for file in [*thick.glob("*.dcm"), *thin.glob("*.dcm")]:
            server.ask("/instances", file.read_bytes())
        address = f"/viewer?StudyInstanceUIDs={STUDY}.1"
        with running_ohif(server.web) as viewer, open_page(viewer + address, size=(1400, 900), flags=WEB_GL) as page:
            page.wait("document.querySelectorAll('[data-cy=study-browser-thumbnail]').length === 2", 60)
            page.wait(f"{SHOWN}.includes('/6)')", 60)
            for button in page.driver.find_elements("xpath", "//*[text()='Skip all']"):
                button.click()
            page.wait(f"{SHOWN}.includes('AI thin')")
            first = picture(page)
            assert first.std() > 20
            page.run("""
                const thin = [...document.querySelectorAll("[data-cy=study-browser-thumbnail]")]
                    .find((one) => one.innerText.includes("AI thin"));
                thin.dispatchEvent(new MouseEvent("dblclick", { bubbles: true }));
            """)
            page.wait(f"{SHOWN}.includes('/12)')", 60)
            wait_for(lambda: np.abs(picture(page) - first).mean() > 0.5, "the first thin slice", 30)
            assert picture(page).std() > 20
            assert [one for one in page.requests() if not one.startswith((viewer, "data:", "blob:"))] == []
