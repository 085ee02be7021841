"""One small evaluation for all tests of the report that only read it, and its page, opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.report.browser import Page, open_page, require_browser
from tests.report.results_builder import write_results

from lamella.report.evaluation import render_results


@pytest.fixture(scope="session")
def results_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("evaluation") / "results", cases=2)


@pytest.fixture(scope="session")
def evaluation_page(results_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluation-page") / "page.html"
    render_results(results_folder, out)
    return out


@pytest.fixture(scope="module")
def opened(evaluation_page: Path) -> Iterator[Page]:
    require_browser()
    with open_page(evaluation_page) as page:
        page.wait_for_pictures()
        yield page


@pytest.fixture
def page(opened: Page) -> Page:
    """The evaluation's page, as it was when it opened."""
    opened.run("""
        const v = lamella.viewer;
        v.setPlane("coronal"); v.setWindow("soft-tissue"); v.setZoom(1); v.setSmooth(true); v.setCross(true);
        v.setErrorRange(200); v.setCursor([0, 0, 0]);
        delete document.documentElement.dataset.theme;
        document.activeElement.blur();
        return v.show(["c0-thick", "c0-thin-0", "c0-truth", "c0-error-0"]);
    """)
    opened.settle()
    assert opened.console() == []
    return opened
