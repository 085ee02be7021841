"""The page of an evaluation: the figures of results.json, the best of them marked, pictures within the budget."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from tests.report.results_builder import grid, write_results
from tests.result_records import blank_record

from lamella.errors import LamellaError, RefusedInput, UsageError
from lamella.nifti.image import write_nifti
from lamella.report.evaluation import curves_of, render_results
from lamella.results.files import read_results
from lamella.results.schema import Method
from lamella.volume import Volume


@pytest.fixture(scope="module")
def page(results_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("page") / "page.html"
    render_results(results_folder, out)
    return out.read_text(encoding="utf-8")


@pytest.fixture
def copy(results_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(results_folder, tmp_path / "copy"))


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'id="page-data">(.*?)</script>', page)
    assert found
    return dict(json.loads(found[1]))


def text_of(page: str) -> str:
    return re.sub(
        r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)))
    )


def change(folder: Path, **changes: Any) -> None:
    """Rewrite keys of the first case, or of all of results.json."""
    content = json.loads((folder / "results.json").read_text())
    for key, value in changes.items():
        (content["cases"][0] if key in content["cases"][0] else content)[key] = value
    (folder / "results.json").write_text(json.dumps(content))


def test_the_tables_hold_the_figures_and_mark_the_best(page: str, results_folder: Path) -> None:
    case = read_results(results_folder)[1].cases[0]
    part = page[page.index('<div data-case="case-0"') : page.index('<div data-case="case-1"')]
    row = re.search(r'<tr><th scope="row"><span class="about"[^>]*>RMSE, body</span>.*?</tr>', part)
    assert row
    values = {name: f"{case.figures[name]['rmse_body_hu']:.1f}" for name in ("mean", "cubic", "flat")}
    assert f'<td class="best"><b>{values["mean"]}</b>' in row[0]
    assert f"<td>{values['cubic']}<small>1.0 to 99.0</small></td><td>{values['flat']}" in row[0]
    assert "RMSE, lung" not in part  # no case has it


def test_every_case_has_its_part_and_its_pictures(page: str) -> None:
    assert re.findall(r'<div data-case="([^"]+)"', page) == ["case-0", "case-1"]
    views = data_of(page)["views"]
    assert [view["case"] for view in views] == ["case-0", "case-1"]
    for number, view in enumerate(views):
        prefix = f"c{number}-"
        roles = {one["id"].removeprefix(prefix): one["role"] for one in view["volumes"]}
        assert roles == {
            "thick": "thick",
            "thin-0": "thin",
            "thin-1": "thin",
            "truth": "truth",
            "error-0": "error",
            "error-1": "error",
            "spread": "spread",
        }
        assert view["options"]["show"] == [f"{prefix}{one}" for one in ("thick", "thin-0", "truth", "error-0")]
        assert view["volumes"][1]["label"] == "Lamella mean"
    blocks = re.findall(r'<script type="text/plain" id="([^"]+)">', page)
    assert len(blocks) == len(set(blocks)) == 10


def test_all_plots_are_in_it(page: str) -> None:
    titles = (
        "Gain over",
        "Error of each slice",
        "Error of a result that is moved",
        "Noise power along",
        "Noise of each slice",
    )
    for title in (*titles, "Is the predicted spread right?", "Contrast of small spheres"):
        assert f">{title}" in page
    assert page.count('<figure class="plot') == 1 + 2 * 6


def test_scales_and_settings_are_told(page: str) -> None:
    text = text_of(page)
    assert "no method could come below an RMSE of about 10.0 HU" in text
    assert f"SHA-256 {'0' * 64}, Apache-2.0" in text
    assert "baselines cubic, nearest" in text


def test_at_most_six_curves_models_and_cubic_first(results_folder: Path) -> None:
    _, found = read_results(results_folder)
    kinds: dict[str, Any] = dict.fromkeys(["nearest", "linear", "cubic", "lanczos"], "baseline")
    kinds |= {"cubic projected": "projected", "mean": "model", "tvsrn": "outside"}
    found = replace(found, methods=tuple(Method(n, n, k) for n, k in kinds.items()))
    case = replace(found.cases[0], figures={key: {} for key in kinds})
    assert curves_of(found, case) == ["mean", "tvsrn", "cubic", "cubic projected", "nearest", "linear"]
    kinds |= {f"sample in {steps} steps": "model" for steps in (1, 2, 4, 8, 16)}
    found = replace(found, methods=tuple(Method(n, n, k) for n, k in kinds.items()))
    case = replace(found.cases[0], figures={key: {} for key in kinds})
    *models, last = curves_of(found, case)
    assert (len(models), last) == (5, "cubic")


@pytest.mark.slow
def test_means_over_other_cases_say_so_and_are_not_the_best(copy: Path, tmp_path: Path) -> None:
    # a tool that answered the easy case alone
    content = json.loads((copy / "results.json").read_text())
    _, second = content["cases"]
    second["figures"]["cubic"]["rmse_body_hu"] = None
    entry = content["pooled"]["cubic"]["rmse_body_hu"]
    entry["value"], entry["cases"] = 0.1, 1
    (copy / "results.json").write_text(json.dumps(content))
    render_results(copy, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    pooled = page[page.index('id="pooled"') : page.index('<div data-case="case-0"')]
    row = re.search(r'<tr><th scope="row"><span class="about"[^>]*>RMSE, body</span>.*?</tr>', pooled)
    assert row
    assert "<td>0.1<small>" in row[0]
    assert "1 of 2 cases</small>" in row[0]
    assert row[0].count('class="best"') == 1


@pytest.mark.slow
def test_more_cases_than_a_page_holds(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "many", cases=5)
    render_results(folder, tmp_path / "page.html", budget_bytes=4_000_000)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert len(data_of(page)["views"]) == 4
    assert sum(map(len, re.findall(r'<script type="text/plain" id="[^"]+">([^<]*)', page))) <= 4_000_000
    assert "pictures of 4 of 5 cases, and none of this one to stay small" in text_of(page)


def test_cases_without_volumes(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "none", cases=1, volumes=False)
    render_results(folder, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert data_of(page)["views"] == []
    assert "none of this one; none were kept" in text_of(page)


def test_a_person_in_the_pictures_is_announced(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "person", person=True)
    render_results(folder, tmp_path / "page.html")
    assert "treat this page as you treat their images" in text_of((tmp_path / "page.html").read_text(encoding="utf-8"))


def test_the_spread_is_turned_like_the_truth(results_folder: Path, tmp_path: Path) -> None:
    """A spread file in another axis order lands on the right voxels."""
    from lamella.report.cases import _read_spread

    hu = np.random.default_rng(0).uniform(5, 90, (6, 7, 8)).astype(np.float32)
    truth = Volume(hu, grid((6, 7, 8), 2.0))
    lps_to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine = lps_to_ras @ truth.geometry.affine
    nib.save(nib.Nifti1Image(hu, affine), tmp_path / "zyx.nii.gz")
    flipped = np.array(affine)
    flipped[:3, 3] += flipped[:3, 1] * 6
    flipped[:3, 1] *= -1
    nib.save(nib.Nifti1Image(hu[:, ::-1].transpose(2, 0, 1), flipped[:, [2, 0, 1, 3]]), tmp_path / "turned.nii.gz")
    for name in ("zyx.nii.gz", "turned.nii.gz"):
        assert np.array_equal(_read_spread(tmp_path, name, blank_record("a"), truth).hu, hu)


# SPEC A21
def test_volumes_that_are_not_finite_are_refused(copy: Path, tmp_path: Path) -> None:
    for name, refusal, match in (("mean", RefusedInput, "not finite"), ("spread", LamellaError, "not finite: volumes")):
        path = copy / "volumes" / "case-0" / f"{name}.nii.gz"
        image: Any = nib.load(path)
        hu = np.asarray(image.dataobj, dtype=np.float32)
        kept = path.read_bytes()
        hu[2, 2, 2] = np.nan
        nib.save(nib.Nifti1Image(hu, image.affine), path)
        with pytest.raises(refusal, match=match):
            render_results(copy, tmp_path / "page.html")
        path.write_bytes(kept)
    assert not (tmp_path / "page.html").exists()


def test_missing_and_misplaced_volumes(copy: Path, tmp_path: Path) -> None:
    other = grid((60, 20, 20))
    write_nifti(copy / "volumes/case-1/spread.nii.gz", [Volume(np.ones(other.shape, np.int16), other)], None)
    with pytest.raises(LamellaError, match="spread of case case-1 does not lie on the grid of its truth"):
        render_results(copy, tmp_path / "page.html")
    (copy / "volumes/case-0/cubic.nii.gz").unlink()
    with pytest.raises(LamellaError, match=r"A volume of case case-0 is missing: volumes/case-0/cubic\.nii\.gz"):
        render_results(copy, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_results_that_are_none(copy: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    with pytest.raises(UsageError, match=r"no results\.json"):
        render_results(tmp_path / "nowhere", out)
    content = json.loads((copy / "results.json").read_text())
    del content["gains"]
    (copy / "results.json").write_text(json.dumps(content))
    with pytest.raises(LamellaError, match="lacks gains"):
        render_results(copy, out)
    (copy / "results.json").write_text("{")
    with pytest.raises(LamellaError, match="is not JSON"):
        render_results(copy, out)
    assert not out.exists()


@pytest.mark.slow
def test_an_existing_page_is_kept_unless_it_may_go(copy: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    out.write_text("mine")
    change(copy, volumes={"thick": None, "truth": None, "spread": None, "methods": {}})
    with pytest.raises(UsageError, match="OUTPUT exists"):
        render_results(copy, out)
    assert out.read_text() == "mine"
    render_results(copy, out, overwrite=True)
    assert "<!doctype html>" in out.read_text(encoding="utf-8")
