"""Every study and series below sources, without reading pixels (issue 27: cohorts)."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tests.dicom_builder import body_hu, build_series

from lamella.cli import main
from lamella.dicom import read_series
from lamella.errors import RefusedInput, UsageError
from lamella.selection.find import Reading, find_series
from lamella.selection.rules import SeriesRules, choose
from lamella.sources.source import read_source

ROOT = "1.2.826.0.1.3680043.8.498"


def study(folder: Path, number: int, **changes: object) -> None:
    build_series(folder, body_hu(seed=number), series_uid=f"{ROOT}.{number}.1", study_uid=f"{ROOT}.{number}", **changes)  # type: ignore[arg-type]


def packed(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for one in sorted(folder.rglob("*.dcm")):
            file.write(one, one.name)
    shutil.rmtree(folder)


def nifti(path: Path, sidecar: dict[str, object] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(body_hu().transpose(2, 1, 0), np.diag([-0.8, -0.8, 5.0, 1.0])), path)
    if sidecar is not None:
        path.with_name(path.name.split(".")[0] + ".json").write_text(json.dumps(sidecar))


def test_folders_zips_and_nifti_are_found_below_several_sources(tmp_path: Path) -> None:
    study(tmp_path / "a" / "one", 1)
    study(tmp_path / "a" / "deeper" / "two", 2)
    packed(tmp_path / "a" / "deeper" / "two", tmp_path / "a" / "two.zip")
    nifti(tmp_path / "b" / "scan.nii.gz")
    (tmp_path / "a" / "notes.txt").write_text("nothing")
    (tmp_path / "a" / ".hidden").mkdir()
    (tmp_path / "a" / ".hidden" / "slice.dcm").write_bytes(b"")
    files: list[int] = []
    found = find_series([tmp_path / "a", tmp_path / "b"], files.append)
    assert [(one.kind, one.id) for one in found[:2]] == [("dicom", f"{ROOT}.1.1"), ("zip", f"{ROOT}.2.1")]
    assert (found[2].kind, found[2].id[:6], found[2].summary.thickness_mm) == ("nifti", "nifti-", 5.0)
    assert [one.study for one in found[:2]] == [f"{ROOT}.1", f"{ROOT}.2"]
    assert sum(files) == 7
    for one, seed in zip(found, (1, 2, 0), strict=True):
        assert choose([one], SeriesRules())[0].verdict == "chosen"
        np.testing.assert_array_equal(read_source(one.source, one.series_uid).hu, body_hu(seed=seed))


def test_a_series_in_several_folders_is_one_and_a_copy_does_not_count(tmp_path: Path) -> None:
    study(tmp_path / "in" / "first", 1)
    (tmp_path / "in" / "second").mkdir()
    for name in ("0002.dcm", "0003.dcm"):
        (tmp_path / "in" / "first" / name).rename(tmp_path / "in" / "second" / name)
    shutil.copy(tmp_path / "in" / "second" / "0003.dcm", tmp_path / "in" / "copy.dcm")
    (one,) = find_series([tmp_path / "in"])
    assert (one.summary.slices, one.summary.refusal, len(one.files)) == (4, None, 5)
    study(tmp_path / "whole", 1)
    assert find_series([tmp_path / "whole"])[0].content == one.content
    (same,) = find_series([tmp_path / "whole", tmp_path / "in"])
    assert same.summary.refusal is None


def test_the_same_series_with_other_content_is_refused(tmp_path: Path) -> None:
    study(tmp_path / "a", 1)
    packed(tmp_path / "a", tmp_path / "a.zip")
    study(tmp_path / "b", 1, tags={"ConvolutionKernel": "B60f"})
    (one,) = find_series([tmp_path / "a.zip", tmp_path / "b"])
    assert choose([one], SeriesRules())[0].reason == f"the series {ROOT}.1.1 was found 2 times with different content"


def test_damage_refuses_its_own_folder_alone(tmp_path: Path) -> None:
    study(tmp_path / "good", 1)
    study(tmp_path / "cut", 2)
    (tmp_path / "cut" / "0001.dcm").write_bytes(b"")
    study(tmp_path / "hole", 3)
    (tmp_path / "hole" / "0001.dcm").unlink()
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost" / "Mustermann.dcm").write_bytes(b"\0" * 128 + b"DICM and no more")
    (tmp_path / "Mustermann.zip").write_bytes(b"PK\x03\x04 and no more")
    verdicts = {one.series.id: (one.verdict, one.reason) for one in choose(find_series([tmp_path]), SeriesRules())}
    assert verdicts[f"{ROOT}.1.1"] == ("chosen", "")
    assert verdicts[f"{ROOT}.2.1"][1].startswith("file 2 is empty")
    assert verdicts[f"{ROOT}.3.1"][1].startswith("The slice spacing is uneven between file 1 and file 2")
    lost = [reason for name, (_, reason) in verdicts.items() if name.startswith("unreadable-")]
    assert len(lost) == 2
    assert all(verdict == "refused" for verdict, _ in list(verdicts.values())[1:])
    assert "Mustermann" not in str(verdicts)  # SPEC C11: no name of a file either


def test_lamella_s_own_and_synthetic_series_are_known(tmp_path: Path, tiny_model: Path) -> None:
    study(tmp_path / "in" / "ct", 1)
    nifti(tmp_path / "scan.nii.gz")
    for source, output in ((tmp_path / "in" / "ct", tmp_path / "in" / "thin"), (tmp_path / "scan.nii.gz", None)):
        target = output or tmp_path / "in" / "thin.nii.gz"
        assert main(["thin", str(source), str(target), "--model", str(tiny_model), "--quiet"]) == 0
    (tmp_path / "in" / "thin.json").unlink()  # the header still says it
    everything = SeriesRules(thickness_mm=None, take="all")
    decisions = choose(find_series([tmp_path / "in"]), everything)
    assert sorted(one.verdict for one in decisions) == ["chosen", "passed over", "passed over"]
    assert {one.reason.split(":")[0] for one in decisions} == {"", "synthetic", "own output"}
    degraded = ["degrade", str(tmp_path / "in" / "ct"), str(tmp_path / "thick"), "--thickness-mm", "10"]
    assert main([*degraded, "--spacing-mm", "10", "--quiet"]) == 0
    (one,) = find_series([tmp_path / "thick"])
    assert (one.own, read_series(tmp_path / "thick").geometry.thickness_mm) == (True, 10.0)


def test_a_missing_source_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="SOURCE does not exist"):
        find_series([tmp_path / "nowhere"])


def test_a_source_without_images_finds_nothing_and_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing")
    assert find_series([tmp_path]) == []
    (one,) = find_series([tmp_path / "readme.txt"])
    assert "holds no DICOM" in choose([one], SeriesRules())[0].reason


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_series_uid_that_is_none_becomes_a_hash(tmp_path: Path) -> None:
    build_series(tmp_path / "in", body_hu(), tags={"SeriesInstanceUID": "../Mustermann", "StudyInstanceUID": "Erika"})
    (one,) = find_series([tmp_path])
    assert one.id.startswith("series-")
    assert one.study.startswith("study-")
    assert (one.series_uid, one.summary.refusal) == ("../Mustermann", None)


def test_what_will_be_repaired_is_not_refused(tmp_path: Path) -> None:
    hu = body_hu(6)
    build_series(tmp_path / "gap", hu, series_uid=f"{ROOT}.1.1", study_uid=f"{ROOT}.1")
    (tmp_path / "gap" / "0002.dcm").unlink()
    assert "1 slice is missing" in (find_series([tmp_path])[0].summary.refusal or "")
    assert find_series([tmp_path], reading=Reading(repair="gap"))[0].summary.refusal is None
    assert find_series([tmp_path], reading=Reading(thickness_mm=3.0))[0].summary.refusal is not None


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Path]:
    """A folder below `tmp_path / "studies"` that this user may not list, whoever it is."""
    study(tmp_path / "studies" / "one", 1)
    closed = tmp_path / "studies" / "closed"
    study(closed, 2)
    closed.chmod(0)
    root, above = os.geteuid() == 0, [folder for folder in tmp_path.parents if folder.stat().st_mode & 0o5 != 0o5]
    modes = {folder: folder.stat().st_mode for folder in (*above, tmp_path)}
    if root:  # may list everything
        for folder in modes:
            folder.chmod(0o755)
        os.seteuid(65534)
    yield closed
    if root:
        os.seteuid(0)
    for folder, mode in modes.items():
        folder.chmod(mode & 0o7777)
    closed.chmod(0o700)


def test_a_folder_that_cannot_be_listed_is_not_passed_over_in_silence(private: Path) -> None:
    decisions = choose(find_series([private.parent]), SeriesRules())
    assert [(one.series.id, one.verdict) for one in decisions] == [
        (f"{ROOT}.1.1", "chosen"),
        ("unlisted-folders", "refused"),
    ]
    assert "1 folder, which this user may not list" in decisions[1].reason
    with pytest.raises(RefusedInput, match=r"closed cannot be listed: Permission denied"):
        read_series(private.parent)


def test_linked_folders_that_lead_elsewhere_are_said(tmp_path: Path) -> None:
    study(tmp_path / "studies" / "one", 1)
    study(tmp_path / "elsewhere", 2)
    (tmp_path / "studies" / "latest").symlink_to(tmp_path / "studies" / "one", target_is_directory=True)
    (tmp_path / "studies" / "circle").symlink_to(tmp_path / "studies", target_is_directory=True)
    assert [one.id for one in find_series([tmp_path / "studies"])] == [f"{ROOT}.1.1"]
    (tmp_path / "studies" / "two").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    decisions = choose(find_series([tmp_path / "studies"]), SeriesRules())
    assert [(one.series.id, one.verdict) for one in decisions] == [
        (f"{ROOT}.1.1", "chosen"),
        ("linked-folders", "refused"),
    ]
    both = find_series([tmp_path / "studies", tmp_path / "elsewhere"])
    assert [one.id for one in both] == [f"{ROOT}.1.1", f"{ROOT}.2.1"]
