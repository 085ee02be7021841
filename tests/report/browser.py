"""Headless Chromium for pages of the report: opened from disk, every request and every message of the console kept."""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

CHROMIUM, DRIVER = "chromium", "chromedriver"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)


def require_browser() -> None:
    """Skip without Chromium, but fail where CI promises one."""
    lacking = [name for name in (CHROMIUM, DRIVER) if shutil.which(name) is None]
    try:
        import selenium  # noqa: F401
    except ImportError:
        lacking.append("selenium")
    if lacking:
        words = f"the pages of the report need {', '.join(lacking)} to be tested"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)


class Page:
    """One page in a browser."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of JavaScript: `return ...`."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition: str, seconds: float = 30.0) -> None:
        """Until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        while not self.run(f"return Boolean({condition})"):
            assert time.monotonic() < end, f"still false after {seconds:g} s: {condition}; console: {self.console()}"
            time.sleep(0.03)

    def settle(self) -> None:
        """Until what was asked for is drawn."""
        self.driver.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()))"
        )

    def keys(self, *keys: str) -> None:
        """Type on whatever has the focus."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()
        self.settle()

    def wait_for_pictures(self) -> None:
        """Until all panes of a report are drawn, or have failed."""
        self.wait("window.lamella && lamella.ready")
        self.driver.execute_async_script("const done = arguments[0]; lamella.ready.then(() => done())")
        self.settle()

    def pixels(self, pane: str, plane: str) -> NDArray[np.uint8]:
        """(height, width, 3) of what a pane's canvas shows."""
        script = """
            const canvas = document.querySelector(`[data-pane="${arguments[0]}"] canvas[data-plane="${arguments[1]}"]`);
            const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
            copy.drawImage(canvas, 0, 0);
            const image = copy.getImageData(0, 0, canvas.width, canvas.height);
            return [image.width, image.height, btoa(Array.from(image.data, (v) => String.fromCharCode(v)).join(""))];
        """
        width, height, values = self.run(script, pane, plane)
        return np.frombuffer(base64.b64decode(values), np.uint8).reshape(height, width, 4)[..., :3]

    def cursor(self) -> NDArray[np.float64]:
        """LPS mm."""
        return np.array(self.run("return lamella.viewer.getCursor()"), dtype=np.float64)

    def focus(self, pane: str) -> None:
        """Put the focus on a pane's first canvas."""
        self.run("document.querySelector(`[data-pane='${arguments[0]}'] canvas`).focus()", pane)

    def console(self) -> list[str]:
        """Messages of the console since the last call, errors of the Content-Security-Policy among them."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Addresses the page asked for since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"]
        return sent + [one["params"]["url"] for one in events if one["method"] == "Network.webSocketCreated"]

    def screenshot(self, path: Path, width: int, height: int | None = None) -> None:
        """A picture of the window at a width; of the whole page where no height is given."""
        self.driver.set_window_size(width, height or 1000)
        self.settle()
        if height is None:
            self.driver.set_window_size(width, self.run("return document.documentElement.scrollHeight") + 150)
        time.sleep(0.3)
        self.settle()
        self.driver.save_screenshot(str(path))


def contrast(page: Page, selector: str) -> float:
    """Contrast of an element's text with what lies behind it (WCAG 2.2, 1.4.3)."""
    colours = page.run(
        """
        let e = document.querySelector(arguments[0]);
        const ink = getComputedStyle(e).color;
        while (getComputedStyle(e).backgroundColor === "rgba(0, 0, 0, 0)") e = e.parentElement;
        return [ink, getComputedStyle(e).backgroundColor].map((c) => c.match(/[0-9.]+/g).slice(0, 3).map(Number));
        """,
        selector,
    )

    def luminance(rgb: list[float]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in rgb)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(luminance(rgb) for rgb in colours)
    return (high + 0.05) / (low + 0.05)


@contextmanager
def open_page(where: Path | str, *, size: tuple[int, int] = (1280, 900), flags: Sequence[str] = ()) -> Iterator[Page]:
    """Open a page, from disk or by its address, in a browser of its own, with an empty profile."""
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = str(shutil.which(CHROMIUM))
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with tempfile.TemporaryDirectory(prefix="lamella-browser-", ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", *flags):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(str(shutil.which(DRIVER))))
        try:
            driver.get("about:blank")
            driver.get_log("performance")  # those of the browser's own first tab
            driver.get(where if isinstance(where, str) else where.resolve().as_uri())
            yield Page(driver)
        finally:
            driver.quit()
