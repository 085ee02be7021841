"""results.json: what is written is read back as it was, and anything else is refused by its key."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.result_records import blank_record

from lamella.errors import LamellaError, UsageError
from lamella.metrics.catalogue import FIGURES
from lamella.results.compared import Gain, Pooled
from lamella.results.files import RESULTS, read_results, write_json
from lamella.results.schema import (
    POOLED,
    Coverage,
    Failure,
    Method,
    ModelUsed,
    NoiseFloor,
    NoisePower,
    Results,
    Spectra,
    VolumeFiles,
)


def results() -> Results:
    case = replace(
        blank_record("a"),
        floor=NoiseFloor(12.0, 11.0, None, None),
        figures={"mean": {"rmse_hu": 1.5, "rmse_lung_hu": None}},
        intervals={"mean": {"rmse_hu": (1.0, 2.0)}},
        spectra=Spectra(along_z=NoisePower((0.1, 0.2), {"truth": (3.0, None)})),
        coverage=Coverage((0.5, 0.68), {"mean": (0.4, None)}),
        volumes=VolumeFiles(thick="volumes/a/thick.nii.gz", methods={"mean": "volumes/a/mean.nii.gz"}),
    )
    gains = [Gain(name, "mean", "cubic", "psnr_4095_db", 2.0, None, None, 1, 1.5) for name in ("a", POOLED)]
    return Results(
        lamella="0.1.0",
        created="2026-01-01T00:00:00+00:00",
        settings={"seed": 0, "models": [{"modes": ["mean"]}]},
        model=(ModelUsed("embedded", "0" * 64, "Apache-2.0"),),
        methods=(Method("mean", "Lamella mean", "model"), Method("cubic", "Cubic", "baseline")),
        figures=FIGURES,
        cases=(case,),
        pooled={"mean": {"rmse_hu": Pooled(1.5, (1.0, 2.0), 1)}},
        gains=(*gains, replace(gains[0], against="flat", difference=0.5)),
        failures=(Failure("b", "It is broken."),),
        seconds=3.5,
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_json(tmp_path / RESULTS, results())
    assert read_results(tmp_path) == (tmp_path, results())
    assert read_results(tmp_path / RESULTS) == (tmp_path, results())


def test_questions_to_results() -> None:
    found = results()
    assert found.label("mean") == "Lamella mean"
    assert found.label("unknown") == "unknown"
    assert found.of_kind("baseline", "projected") == ["cubic"]
    assert found.gain(POOLED, "mean", "cubic") == found.gains[1]
    assert found.least_gain("a", "mean") == found.gains[2]
    assert found.gain("a", "cubic", "mean") is None
    assert found.cases[0].figure("mean", "rmse_lung_hu") is None
    assert found.cases[0].volumes.names == ["volumes/a/thick.nii.gz", "volumes/a/mean.nii.gz"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda c: c.pop("gains"), r"results\.json is not of this version\. It lacks gains\."),
        (lambda c: c["cases"][0].pop("thick"), r"It lacks cases\.0\.thick\."),
        (lambda c: c["cases"][0]["figures"]["mean"].update(rmse_hu="low"), r"cases\.0\.figures\.mean\.rmse_hu must be"),
        (lambda c: c["cases"][0].update(looks=1), r"Unknown key cases\.0\.looks"),
    ],
)
def test_results_of_another_version_are_refused_by_their_key(tmp_path: Path, change: Any, match: str) -> None:
    write_json(tmp_path / RESULTS, results())
    content = json.loads((tmp_path / RESULTS).read_text())
    change(content)
    (tmp_path / RESULTS).write_text(json.dumps(content))
    with pytest.raises(LamellaError, match=match):
        read_results(tmp_path)


def test_numbers_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / RESULTS, replace(results(), seconds=float("nan")))
    assert list(tmp_path.iterdir()) == []


def test_no_results(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"There is no results\.json"):
        read_results(tmp_path)
