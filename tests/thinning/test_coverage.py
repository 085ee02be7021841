"""Issue 28, item 7: a scan unlike the training's is told in one line, and one like it is not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from lamella.dicom.header import SeriesHeader
from lamella.files.config import fill
from lamella.models.shipped import find_model
from lamella.networks.folder import read_card
from lamella.phantom import PhantomSettings, paint_phantom
from lamella.physics.simulate import simulate_thick
from lamella.sources.source import read_source
from lamella.thinning.coverage import Covered, ScanFacts, body_part_of, covered_by, lungs_shown, outside, scan_facts
from lamella.thinning.model import Limits
from lamella.volume import Volume, round_hu

LIKE = ScanFacts(pixel_mm=0.7, noise_hu=20.0, sharpness_per_mm=0.4, body_part="chest", lungs=True)
COVERED = Covered((0.5, 0.8), (5.0, 40.0), (0.3, 0.5), ("abdomen", "chest"), ("head",))


def shipped() -> Covered:
    covered = fill(Limits, read_card(find_model("embedded"))["limits"], "limits").covered
    assert covered is not None
    return covered


def thick_phantom(**settings: object) -> Volume:
    painted = paint_phantom(PhantomSettings(**settings))
    return simulate_thick(Volume(round_hu(painted.hu), painted.geometry), 5.0, 5.0, "box")


def with_body_part(volume: Volume, text: str) -> Volume:
    header = Dataset()
    header.BodyPartExamined = text
    return dataclasses.replace(volume, header=SeriesHeader("1.2", (header,), (), (), True))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pixel_mm": 0.2}, "pixels of 0.2 mm (covered: 0.5 to 0.8 mm)"),
        ({"noise_hu": 90.0}, "noise, for slices of 1 mm, of 90 HU (covered: 5 to 40 HU)"),
        ({"noise_hu": 2.0}, "noise, for slices of 1 mm, of 2 HU (covered: 5 to 40 HU)"),
        (
            {"sharpness_per_mm": 0.9},
            "sharpness in the plane (MTF 0.5) of 0.9 cycles/mm (covered: 0.3 to 0.5 cycles/mm)",
        ),
        ({"body_part": "limb"}, "body part limb (covered: abdomen, chest)"),
        ({"body_part": "head"}, "body part head (covered: as phantoms alone, and abdomen, chest)"),
    ],
)
def test_each_quantity_outside_is_told_with_what_was_found_and_covered(change: dict[str, object], said: str) -> None:
    (line,) = outside(dataclasses.replace(LIKE, **change), COVERED)
    assert said in line


def test_several_quantities_are_told_in_one_line_and_none_inside() -> None:
    (line,) = outside(dataclasses.replace(LIKE, pixel_mm=0.2, noise_hu=90.0), COVERED)
    assert "pixels" in line
    assert "noise" in line
    assert "sharpness" not in line


@pytest.mark.parametrize("change", [{}, {"pixel_mm": 0.86}, {"noise_hu": 48.0}, {"noise_hu": None}, {"body_part": ""}])
def test_what_is_inside_or_not_known_is_not_told(change: dict[str, object]) -> None:
    assert outside(dataclasses.replace(LIKE, **change), COVERED) == []
    assert outside(dataclasses.replace(LIKE, **change), None) == []


def test_the_covered_ranges_are_those_of_the_scans_and_phantoms_are_told_apart() -> None:
    other = dataclasses.replace(LIKE, pixel_mm=0.5, noise_hu=None, sharpness_per_mm=0.3, body_part="head")
    found = covered_by([(LIKE, False), (other, True)])
    assert found == Covered((0.5, 0.7), (20.0, 20.0), (0.3, 0.4), ("chest",), ("head",))


def test_phantoms_that_trained_the_shipped_model_are_inside() -> None:
    for settings in (
        {"seed": 103, "shape": (60, 320, 320), "pixel_mm": 0.8, "noise_hu": 8.0},
        {"seed": 101, "shape": (40, 352, 352), "pixel_mm": 0.45, "noise_hu": 5.0},
        {"region": "head", "seed": 203, "shape": (40, 352, 352), "pixel_mm": 0.5, "noise_hu": 2.0},
    ):
        assert outside(scan_facts(thick_phantom(**settings)), shipped()) == []


@pytest.mark.realdata
def test_scans_that_trained_the_shipped_model_are_inside(ct_folder: Path) -> None:
    for name in ("lidc-0003-2.5mm", "hcc-006-2.5mm", "cptac-c3n00247-3mm", "lidc-0314-1.0mm"):
        volume = read_source(ct_folder / "train" / name)
        facts = scan_facts(volume)
        assert outside(facts, shipped()) == []
        assert facts.lungs


def test_noise_and_sharpness_are_measured_from_the_voxels() -> None:
    quiet, noisy = (
        scan_facts(thick_phantom(shape=(40, 256, 256), pixel_mm=0.8, noise_hu=noise)) for noise in (8.0, 32.0)
    )
    assert quiet.noise_hu is not None
    assert noisy.noise_hu is not None
    assert 3.0 < noisy.noise_hu / quiet.noise_hu < 4.2  # the phantom's own texture adds to the quiet one
    assert quiet.sharpness_per_mm is not None
    assert 0.2 < quiet.sharpness_per_mm < 0.45
    flat = Volume.from_array(np.zeros((4, 32, 32), np.int16), spacing_mm=5, thickness_mm=5, pixel_mm=0.7)
    nothing = scan_facts(flat)
    assert (nothing.noise_hu, nothing.sharpness_per_mm, nothing.body_part, nothing.lungs) == (None, None, "", False)


def test_header_and_voxels_decide_about_lungs() -> None:
    chest = thick_phantom(shape=(60, 128, 128), pixel_mm=2.4, noise_hu=10.0)
    head = thick_phantom(region="head", shape=(60, 128, 128), pixel_mm=1.8, noise_hu=4.0)
    assert lungs_shown(chest)
    assert not lungs_shown(head)
    for text, part, lungs in (("CHEST", "chest", True), ("SKULL", "head", False), ("", "", True)):
        named = with_body_part(chest, text)
        assert (body_part_of(named), lungs_shown(named)) == (part, lungs)
    assert not lungs_shown(with_body_part(head, "CHEST"))
