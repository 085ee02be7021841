"""Issue 28, item 7: the header and the voxels decide whether an evaluation has figures of lungs."""

from __future__ import annotations

import dataclasses

import pytest
from pydicom.dataset import Dataset

from lamella.dicom.header import SeriesHeader
from lamella.evaluate.scans import scan_of
from lamella.phantom import PhantomSettings, paint_phantom
from lamella.volume import Volume


@pytest.fixture(scope="module")
def chest() -> Volume:
    return paint_phantom(PhantomSettings((40, 96, 96), pixel_mm=3.0))


@pytest.mark.parametrize(("part", "lungs"), [("CHEST", True), ("", True), ("BRAIN", False), ("KNEE", False)])
def test_the_header_decides(chest: Volume, part: str, lungs: bool) -> None:
    header = Dataset()
    header.BodyPartExamined = part
    named = dataclasses.replace(chest, header=SeriesHeader("1.2", (header,), (), (), True))
    scan = scan_of("scan", "thickened", True, named, crop=True)
    assert scan.masks["lung"].any() == scan.masks["vessel"].any() == scan.lung_region.any() == lungs
    assert scan.masks["body"].any()


def test_the_voxels_decide_where_the_header_says_nothing() -> None:
    head = paint_phantom(PhantomSettings((60, 128, 128), pixel_mm=1.8, region="head", noise_hu=6.0))
    scan = scan_of("head", "phantom", False, head, crop=True)
    assert not scan.masks["lung"].any()
    assert not scan.lung_region.any()
