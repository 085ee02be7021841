"""Results of other tools, handed in as a folder (issue: peers are handed in as files with versions, commands, times)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.phantom_case import TINY, case_of, settings_of

from lamella.errors import LamellaError, UsageError
from lamella.evaluate import evaluate
from lamella.evaluate.cases import Case
from lamella.evaluate.methods import methods_of
from lamella.evaluate.outside import handed_in
from lamella.nifti.image import read_nifti, write_nifti
from lamella.results.evidence import ToolRun
from lamella.results.files import read_results
from lamella.volume import Volume

CASE = "tiny_5-every-5"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case_of(settings_of(tmp_path_factory.mktemp("none"), phantoms=(TINY,)))


def hand_in(folder: Path, name: str, volume: Volume | None, **record: object) -> None:
    (folder / CASE).mkdir(parents=True, exist_ok=True)
    if volume is not None:
        write_nifti(folder / CASE / f"{name}.nii.gz", [volume], None)
    if record:
        (folder / CASE / f"{name}.json").write_text(json.dumps(record))


def test_a_folder_is_scored_with_what_its_records_say(tmp_path: Path, tiny: Case) -> None:
    run = {"versions": {"tool": "1.2"}, "command": "tool --fast", "seconds": 12.5, "memory_mb": 900.0}
    hand_in(tmp_path / "peers", "perfect", Volume(tiny.scan.volume.hu, tiny.scan.volume.geometry), **run)
    hand_in(tmp_path / "peers", "slow", None, versions={"slow": "0.1"}, could_not="A week for one scan.")
    settings = settings_of(
        tmp_path / "out",
        phantoms=(TINY,),
        baselines=("cubic",),
        outside_folder=str(tmp_path / "peers"),
        volumes=("cubic", "perfect"),
        spheres=False,
    )
    _, found = read_results(evaluate(settings).results)
    (case,) = found.cases
    assert [one.name for one in found.methods if one.kind == "outside"] == ["perfect", "slow"]
    assert case.figure("perfect", "rmse_hu") == 0.0
    assert case.figure("perfect", "seconds") == 12.5
    assert case.tools["perfect"] == ToolRun({"tool": "1.2"}, "tool --fast", 12.5, 900.0)
    assert case.tools["slow"].could_not == "A week for one scan."
    assert "slow" not in case.figures
    assert case.figure("perfect", "blobs_invented_per_litre") == case.figure("perfect", "blobs_erased_per_litre") == 0.0
    assert str(tmp_path) not in (tmp_path / "out" / "results.json").read_text()
    assert case.harm is not None
    assert case.harm.method == "perfect"
    assert case.harm.from_truth == ()  # it is nowhere off
    assert len(case.harm.from_cubic) > 10


def test_the_thick_slices_that_were_kept_are_what_a_tool_needs(tmp_path: Path, tiny: Case) -> None:
    settings = settings_of(tmp_path / "out", phantoms=(TINY,), baselines=("cubic",), volumes=("cubic",), spheres=False)
    evaluate(settings)
    thick = read_nifti(tmp_path / "out" / "volumes" / CASE / "thick.nii.gz")
    assert np.array_equal(thick.hu, tiny.thick.hu)
    assert thick.geometry.apart_mm(tiny.thick.geometry) < 1e-3


def test_records_and_folders_that_are_wrong_are_told(tmp_path: Path, tiny: Case) -> None:
    def refused(folder: Path, **more: object) -> str:
        with pytest.raises(UsageError) as told:
            handed_in(settings_of(tmp_path / "out", outside_folder=str(folder), **more))
        return str(told.value)

    assert "outside_folder is no folder" in refused(tmp_path / "nothing")
    hand_in(tmp_path / "a", "alone", None, command="tool")
    assert "a record of alone and no result" in refused(tmp_path / "a")
    hand_in(tmp_path / "b", "tool", tiny.scan.volume, seconds="long")
    assert "The record of tool for case tiny_5-every-5 is not as expected. seconds must be a number" in refused(
        tmp_path / "b"
    )
    hand_in(tmp_path / "c", "tool", tiny.scan.volume, second=1.0)
    assert "Nearest: seconds" in refused(tmp_path / "c")
    (tmp_path / "c" / CASE / "tool.json").write_text("{")
    assert "cannot be read (JSONDecodeError)" in refused(tmp_path / "c")
    hand_in(tmp_path / "d", "tool", tiny.scan.volume)
    (tmp_path / "d" / CASE / "tool").mkdir()
    assert "two results of tool" in refused(tmp_path / "d")


def test_a_case_that_nobody_planned_is_told_before_the_work(tmp_path: Path, tiny: Case) -> None:
    hand_in(tmp_path / "peers", "tool", tiny.scan.volume)
    settings = settings_of(tmp_path / "out", outside_folder=str(tmp_path / "peers"))
    with pytest.raises(LamellaError, match="there is no case 'tiny_5-every-5'"):
        evaluate(settings)
    assert [one.name for one in methods_of(handed_in(settings)) if one.kind == "outside"] == ["tool"]
