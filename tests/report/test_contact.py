"""Contact sheets of the places where a result is worst (issue: harm is looked for, not averaged away)."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lamella.nifti.image import read_nifti
from lamella.report.contact import TILE_PX, contact_sheets, place_images, shares
from lamella.results.evidence import WorstPlace
from lamella.results.files import read_results


def test_every_place_is_shown_once_under_its_kind(results_folder: Path) -> None:
    folder, found = read_results(results_folder)
    case = found.cases[0]
    assert case.harm is not None
    truth, cubic = contact_sheets(folder, found, case)
    for sheet, places in ((truth, case.harm.from_truth), (cubic, case.harm.from_cubic)):
        assert len(places) > 5
        ranks = {kind: [int(strip.words.split(":")[0]) for strip in strips] for kind, _, strips in sheet.kinds}
        assert sorted(rank for ones in ranks.values() for rank in ones) == list(range(1, len(places) + 1))
        for kind, ones in ranks.items():
            assert {places[rank - 1].kind for rank in ones} == {kind}
    assert "furthest from the truth" in truth.title
    assert "furthest from cubic interpolation" in cubic.title


def test_a_strip_has_truth_thick_cubic_result_and_difference(results_folder: Path) -> None:
    folder, found = read_results(results_folder)
    (_, _, strips), *_ = contact_sheets(folder, found, found.cases[0])[0].kinds
    png = base64.b64decode(strips[0].uri.removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.size == (5 * TILE_PX + 4 * 2, TILE_PX)
        tiles = [np.asarray(picture)[:, n * (TILE_PX + 2) :][:, :TILE_PX].astype(int) for n in range(5)]
    assert tiles[4][TILE_PX // 2, TILE_PX // 2] != 128  # it differs at its centre
    assert np.abs(tiles[3] - tiles[0]).mean() < np.abs(tiles[2] - tiles[0]).mean()  # half truth, half cubic


def test_a_place_is_in_the_middle_of_its_tile(results_folder: Path) -> None:
    folder, found = read_results(results_folder)
    truth = read_nifti(folder / found.cases[0].volumes.truth)
    ball = WorstPlace((14.0, 19.0, 12.0), 0.0, "edge")  # 10 mm across
    image = place_images(ball, {"truth": truth}, 20.0)["truth"]
    z, x = (np.flatnonzero((image > 250).any(axis=axis)) for axis in (1, 0))
    for found_px in (z, x):
        assert found_px.mean() == pytest.approx((TILE_PX - 1) / 2, abs=3)
        assert len(found_px) * 20 / TILE_PX == pytest.approx(10, abs=2.5)


def test_shares_by_hand() -> None:
    places = tuple(WorstPlace((0.0, 0.0, 0.0), 1.0, kind) for kind in ("edge", "noise", "edge", "vessel"))
    assert shares(places) == {"vessel": "1 (25 %)", "edge": "2 (50 %)", "noise": "1 (25 %)"}


def test_the_page_holds_the_sheets_and_nothing_where_no_volume_was_kept(
    evaluation_page: Path, results_folder: Path
) -> None:
    text = evaluation_page.read_text(encoding="utf-8")
    folder, found = read_results(results_folder)
    places = sum(len(one.harm.from_truth) + len(one.harm.from_cubic) for one in found.cases if one.harm)
    assert len(re.findall(r'<img src="data:image/png;base64,[^"]+" alt="(?:edge|noise|vessel)', text)) == places
    case = found.cases[0]
    none = replace(case, volumes=replace(case.volumes, methods={}))
    assert contact_sheets(folder, found, none) == []
