"""Without Chromium the browser's tests are skipped and say why; where CI promises one, they fail."""

from __future__ import annotations

import shutil

import pytest
from tests.report.browser import require_browser


def test_a_missing_browser_skips_here_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="need chromium, chromedriver to be tested"):
        require_browser()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="need chromium, chromedriver"):
        require_browser()
