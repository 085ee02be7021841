"""The page of a study calls its series as the files do. Issue 27, item 2."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

from pydicom import dcmread

from lamella.cli import main
from lamella.dicom.words import series_words


def test_the_page_names_source_and_result_as_their_headers_do(
    thin_command: list[str], thick_study: Path, tmp_path: Path
) -> None:
    out, page = tmp_path / "out", tmp_path / "page.html"
    assert main([*thin_command, str(out), "--report", str(page)]) == 0
    facts = re.search(r'class="facts">(.*?)<', page.read_text(encoding="utf-8"))
    assert facts
    source, result = unescape(facts[1]).split(" \N{RIGHTWARDS ARROW} ")
    thick, thin = dcmread(next(thick_study.iterdir())), dcmread(next(out.iterdir()))
    words = series_words(thick)
    assert source == (f"Series {thick.SeriesNumber}, {words}" if words else f"Series {thick.SeriesNumber}")
    number, _, label = result.partition(", ")
    assert number == f"Series {thin.SeriesNumber}"
    assert thin.SeriesDescription.endswith(label)
    assert "thin" in label
