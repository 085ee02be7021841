"""Issue 28, item 7: the body part that a header says, classic and enhanced, in words of our own."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from tests.dicom_builder import build_enhanced, build_series, phantom_hu

from lamella.dicom import read_series
from lamella.dicom.body_part import body_part_of


def header(text: str | None = None, meaning: str | None = None) -> Dataset:
    made = Dataset()
    if text is not None:
        made.BodyPartExamined = text
    if meaning is not None:
        item = Dataset()
        item.CodeMeaning = meaning
        made.AnatomicRegionSequence = [item]
    return made


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("HEAD", "head"), ("BRAIN", "head"), ("SKULL", "head"), ("HEADNECK", "head"), ("CHEST", "chest"),
        ("TH CT CHEST WO C", "chest"), ("CHESTABDPELVIS", "chest"), ("LIVER", "abdomen"), ("TSPINE", "spine"),
        ("ANKLE", "limb"), ("NECK", "neck"), ("PHANTOM", ""), ("MR ARMSTRONG", ""), ("", ""), (None, ""),
    ],
)  # fmt: skip
def test_words_of_a_header(text: str | None, expected: str) -> None:
    assert body_part_of(header(text)) == expected


def test_the_anatomic_region_counts_where_the_body_part_says_nothing() -> None:
    assert body_part_of(header(None, "Head")) == "head"
    assert body_part_of(header("", "Chest, Abdomen and Pelvis")) == "chest"
    assert body_part_of(header("BRAIN", "Chest")) == "head"


def test_read_series_classic_and_enhanced(tmp_path: Path) -> None:
    hu = phantom_hu(3)
    build_series(tmp_path / "classic", hu, tags={"BodyPartExamined": "SKULL"})
    build_enhanced(tmp_path / "enhanced.dcm", hu, tags={"BodyPartExamined": "BRAIN"})
    for source in (tmp_path / "classic", tmp_path / "enhanced.dcm"):
        assert read_series(source).header.body_part == "head"  # type: ignore[attr-defined]  # a SeriesHeader


def test_the_anatomy_of_frames_counts(tmp_path: Path) -> None:
    path = tmp_path / "enhanced.dcm"
    build_enhanced(path, phantom_hu(3), tags={"BodyPartExamined": None})
    dataset = dcmread(path)
    anatomy = Dataset()
    anatomy.FrameLaterality, anatomy.AnatomicRegionSequence = "U", header(None, "Brain").AnatomicRegionSequence
    dataset.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [anatomy]
    dataset.save_as(path)
    assert read_series(path).header.body_part == "head"  # type: ignore[attr-defined]
