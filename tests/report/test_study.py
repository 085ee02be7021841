"""The page of one study: what it says is what the report and the volumes say."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.report.results_builder import answers_of, body, grid, thickened

from lamella.errors import LamellaError, NonFiniteError, UsageError
from lamella.report.interest import window_of_interest
from lamella.report.study import render_study
from lamella.volume import Geometry, Volume

REPORT: dict[str, Any] = {
    "lamella": "0.1.0",
    "model": {"name": "embedded", "sha256": "ab" * 32, "licence": "Apache-2.0"},
    "settings": {"mode": "mean", "seed": 0, "spacing_mm": 1.0, "like": False, "slices": None},
    "device": "cpu",
    "precision": "fp32",
    "seconds": {"read": 1.5, "mean": 20.0},
    "source": {"series_uid": "1.2.840.1", "slices": 12, "spacing_mm": 5.0, "thickness_mm": 5.0},
    "output": {"series_uid": None, "slices": 60, "spacing_mm": 1.0, "thickness_mm": 1.0},
    "scan": {"pixel_mm": 0.7, "noise_hu": 21.4, "sharpness_per_mm": None, "body_part": "chest", "lungs": True},
    "consistency_rmse_hu": 0.127,
    "peak_rss_bytes": 3 * 2**30,
    "warnings": ["Slices overlap <by> half."],
}


@pytest.fixture(scope="module")
def volumes() -> dict[str, Volume]:
    truth = Volume(body(grid()), grid())
    thick = thickened(truth)
    answers = {name: Volume(hu, truth.geometry) for name, hu in answers_of(truth, thick).items()}
    return {"thick": thick, **answers}


def spread(volumes: dict[str, Volume]) -> Volume:
    """30 HU where the answer is lung, 10 HU elsewhere."""
    hu = np.where(volumes["mean"].hu < -500, 30, 10).astype(np.float32)
    return Volume(hu, volumes["mean"].geometry)


def render(out: Path, volumes: dict[str, Volume], **changes: Any) -> str:
    answers = [("Lamella mean", volumes["mean"]), ("Cubic interpolation", volumes["cubic"])]
    given = {"source": volumes["thick"], "answers": answers, "spread": spread(volumes), "report": REPORT} | changes
    render_study(out, **given)
    return out.read_text(encoding="utf-8")


def text_of(page: str) -> str:
    """What can be read on it."""
    return re.sub(
        r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)))
    )


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'id="page-data">(.*?)</script>', page)
    assert found
    return dict(json.loads(found[1]))


def test_what_it_says(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    text = text_of(render(tmp_path / "page.html", volumes))
    for said in (
        "12 slices of 5 mm every 5 mm became 60 slices of 1 mm every 1 mm",
        "For research use only. Not a medical device. Not for diagnosis.",
        "0.13 HU Averaging the thin slices over each thick one gives the measured slices back",
        "\u00b130 HU in the lungs, \u00b110 HU in soft tissue",
        "Slices overlap <by> half.",
        "ab" * 32,
        "1.2.840.1",
        "22 s It took this long on cpu, with 3.0 GiB of memory at most.",
        "least expected error",
        "like no",
        "slices not given",
        "Noise, for slices of 1 mm 21.4 HU",
        "Body part chest",
        "cropped to the body",
    ):
        assert said in text, said


def test_a_scan_without_lungs_has_no_figure_of_lungs(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    scan = REPORT["scan"] | {"lungs": False}
    text = text_of(render(tmp_path / "page.html", volumes, report=REPORT | {"scan": scan}))
    assert "in soft tissue" in text
    assert "lungs" not in text


def test_what_it_shows(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    (view,) = data_of(render(tmp_path / "page.html", volumes))["views"]
    roles = {one["id"]: one["role"] for one in view["volumes"]}
    assert roles == {"thick": "thick", "other-1": "thin", "thin": "thin", "spread": "spread", "change-other-1": "error"}
    assert view["options"]["show"] == ["thick", "other-1", "thin", "spread"]
    assert view["volumes"][-1]["derived"] == {"minus": ["thin", "other-1"]}


def test_without_spread_and_other_answers(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    page = render(tmp_path / "page.html", volumes, answers=[("Lamella mean", volumes["mean"])], spread=None)
    (view,) = data_of(page)["views"]
    assert [one["id"] for one in view["volumes"]] == ["thick", "thin"]
    assert "how unsure" not in text_of(page)


def test_a_measurement_that_is_not_kept_is_not_praised(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    page = render(tmp_path / "a.html", volumes, report=REPORT | {"consistency_rmse_hu": 4.2})
    assert "more than rounding" in text_of(page)
    assert "card-good" not in page[page.index("<main>") :]
    assert "measured slices back" not in text_of(
        render(tmp_path / "b.html", volumes, report=REPORT | {"consistency_rmse_hu": None})
    )


def test_a_sample_is_called_what_it_is(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    report = REPORT | {"settings": REPORT["settings"] | {"mode": "sample"}}
    assert "small details may be invented" in text_of(render(tmp_path / "page.html", volumes, report=report))


# SPEC A21
@pytest.mark.parametrize(("which", "label"), [("source", "source"), ("answers", "Mine"), ("spread", "spread")])
def test_nothing_that_is_not_finite_is_drawn(
    tmp_path: Path, volumes: dict[str, Volume], which: str, label: str
) -> None:
    template = volumes["thick"] if which == "source" else volumes["mean"]
    hu = template.hu.astype(np.float32)
    hu[3] = np.inf
    broken = Volume(hu, template.geometry)
    with pytest.raises(NonFiniteError, match=f"'{label}' cannot be shown: slice 3"):
        render(tmp_path / "page.html", volumes, **{which: [("Mine", broken)] if which == "answers" else broken})
    assert list(tmp_path.iterdir()) == []


def test_refusals(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    out = tmp_path / "page.html"
    with pytest.raises(LamellaError, match="needs an answer"):
        render(out, volumes, answers=[])
    with pytest.raises(LamellaError, match="lacks model, seconds"):
        render(out, volumes, report={k: v for k, v in REPORT.items() if k not in ("model", "seconds")})
    with pytest.raises(LamellaError, match="Spread and answer differ in shape"):
        render(out, volumes, spread=volumes["thick"])
    with pytest.raises(LamellaError, match="even at their coarsest"):
        render(out, volumes, budget_bytes=100)
    assert list(tmp_path.iterdir()) == []
    out.write_text("mine")
    with pytest.raises(UsageError, match="OUTPUT exists"):
        render(out, volumes)
    assert out.read_text() == "mine"


def test_it_names_its_series_and_opens_in_the_window_of_what_it_shows(
    tmp_path: Path, volumes: dict[str, Volume]
) -> None:
    """Issue 27, item 2: names stand on the page, never in its title."""
    names = "Series 3, Thorax 5.0", "Series 1003, Thorax 5.0"
    page = render(tmp_path / "page.html", volumes, names=names)
    text = text_of(page)
    assert "Series 3, Thorax 5.0 \u2192 Series 1003, Thorax 5.0" in text
    assert "Result Series 1003, Thorax 5.0" in text
    title = re.search("<title>(.*?)</title>", page)
    assert title
    assert title[1] == "Lamella: thin slices"
    assert data_of(page)["views"][0]["options"]["window"] == window_of_interest(volumes["mean"])


@pytest.mark.parametrize(
    ("inside", "share", "window"), [(-800, 0.4, "lung"), (700, 0.5, "bone"), (40, 0.4, "soft-tissue")]
)
def test_the_window_follows_from_the_content(inside: float, share: float, window: str) -> None:
    hu = np.full((6, 64, 64), -1000, np.float32)
    hu[:, 8:56, 8:56] = 40
    half = round(24 * share**0.5)
    hu[:, 32 - half : 32 + half, 32 - half : 32 + half] = inside
    assert window_of_interest(Volume(hu, Geometry(hu.shape, np.eye(4), 1.0))) == window
    assert window_of_interest(Volume(np.full_like(hu, -1000), Geometry(hu.shape, np.eye(4), 1.0))) == "soft-tissue"
