"""What a derived series says about itself: labels, provenance, identity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from tests.derived_series import changed, derive
from tests.dicom_builder import phantom_hu

from lamella.dicom.labels import derivation_labels
from lamella.errors import LamellaError


def test_no_header_claims_to_be_original(tmp_path: Path) -> None:
    for header in derive(tmp_path).headers:
        assert list(header.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
        assert header.SyntheticData == "YES"
        assert header.ContentQualification == "RESEARCH"
        assert "research use only" in header.ImageComments.lower()
        assert header.SeriesDescription == "thick AI thin 1mm mean RESEARCH"
        assert header.SeriesNumber == 1003
        assert "embedded 1.0" in header.DerivationDescription


def test_synthetic_data_stays_synthetic(tmp_path: Path) -> None:
    for stated, expected in (("YES", "YES"), ("NO", "NO"), (None, None)):
        folder = tmp_path / str(stated)
        folder.mkdir()
        thickened = changed(synthetic=False, mode="thickened", model_name="")
        header = derive(folder, factor=1, derivation=thickened, tags={"SyntheticData": stated}).headers[0]
        assert header.get("SyntheticData") == expected
        assert header.DerivationCodeSequence[0].CodeMeaning == "Pixel by pixel mean"
        (equipment,) = header.ContributingEquipmentSequence
        assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
        assert header.ImageComments.startswith("Computed")


def test_equipment_names_model_weights_and_licence(tmp_path: Path) -> None:
    processing, synthesizing = derive(tmp_path).headers[0].ContributingEquipmentSequence
    assert processing.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert synthesizing.PurposeOfReferenceCodeSequence[0].CodeValue == "109100"
    for item in (processing, synthesizing):
        for text in ("embedded", "ab" * 32, "Apache-2.0", "Not for diagnosis"):
            assert text in item.ContributionDescription
        assert item.ManufacturerModelName == "embedded"
        assert item.SoftwareVersions.startswith("lamella ")


@pytest.mark.parametrize(
    ("stated", "expected"),
    [(["00"] * 4, "00"), (["00", "00", "01", "00"], "01"), ([None] * 4, None), (["00", None, "00", "00"], None)],
)
def test_lossy_once_is_lossy_for_ever(tmp_path: Path, stated: list[str | None], expected: str | None) -> None:
    more = {"LossyImageCompressionRatio": 12.5, "LossyImageCompressionMethod": "ISO_15444_1"}
    per_slice = {k: {"LossyImageCompression": v, **(more if v == "01" else {})} for k, v in enumerate(stated)}
    for header in derive(tmp_path, per_slice=per_slice).headers:
        assert header.get("LossyImageCompression") == expected
        assert header.get("LossyImageCompressionRatio") == (12.5 if expected == "01" else None)
        assert header.get("LossyImageCompressionMethod") == ("ISO_15444_1" if expected == "01" else None)


@pytest.mark.parametrize(
    ("spacing_mm", "thickness_mm", "factor", "expected"),
    [
        (5.0, 5.0, 5, [[0], [0], [0], [0], [0], [1]]),
        # Slabs of 5 mm at 0, 2.5, ...; thin slabs of 0.5 mm at -1, -0.5, 0, ...: they overlap nearer than 2.75 mm.
        (2.5, 5.0, 5, [[0], [0], [0, 1], [0, 1], [0, 1], [0, 1], [0, 1], [0, 1, 2]]),
        # Slabs of 2 mm at 0, 10, ...; thin slabs of 2.5 mm at -3.75, -1.25, 1.25, ...: nearer than 2.25 mm, else a gap.
        (10.0, 2.0, 4, [[0, 1], [0], [0], [0, 1], [0, 1], [1], [1], [1, 2]]),
    ],
    ids=["abutting", "overlapping", "gaps"],
)
def test_source_images_are_those_that_overlap(
    tmp_path: Path, spacing_mm: float, thickness_mm: float, factor: int, expected: list[list[int]]
) -> None:
    derived = derive(tmp_path, factor=factor, spacing_mm=spacing_mm, thickness_mm=thickness_mm)
    uids = [s.SOPInstanceUID for s in derived.source.header.slices]  # type: ignore[union-attr]
    found = [[uids.index(i.ReferencedSOPInstanceUID) for i in h.SourceImageSequence] for h in derived.headers]
    assert found[: len(expected)] == expected
    for item in derived.headers[0].SourceImageSequence:
        assert item.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"


def test_uids_depend_on_settings_sample_and_grid_and_on_nothing_else(tmp_path: Path) -> None:
    def uids(name: str, **options: Any) -> list[str]:
        (tmp_path / name).mkdir()
        headers = derive(tmp_path / name, **options).headers
        return [headers[0].SeriesInstanceUID, *(h.SOPInstanceUID for h in headers)]

    first = uids("first")
    assert len(set(first)) == 21
    assert all(len(uid) <= 64 for uid in first)
    assert uids("again", hu=phantom_hu(4, seed=1)) == first
    for number, options in enumerate(
        (
            {"derivation": changed(settings_key="other")},
            {"derivation": changed(sample=1)},
            {"derivation": changed(mode="texture")},
            {"derivation": changed(model_sha256="cd" * 32)},
            {"factor": 4},
            {"series_uid": "1.2.3.4"},
        )
    ):
        assert not set(uids(str(number), **options)) & set(first), options


@given(st.text(max_size=80), st.integers(1, 64))
def test_the_label_survives_every_source_description(old: str, length: int) -> None:
    first = Dataset()
    first.SeriesNumber = 2**31 - 5
    with pydicom.config.disable_value_validation():
        first.SeriesDescription = old
    labels = derivation_labels(first, changed(series_label="L" * length))
    assert len(labels.SeriesDescription) <= 64
    assert labels.SeriesDescription.endswith("L" * length)
    assert labels.SeriesNumber == 995  # goes on from 0


def test_labels_are_made_fit_for_any_character_set(tmp_path: Path) -> None:
    derivation = changed(description="5 → 1 mm\nmodèle\\x" + "y" * 2000, series_label="AI fin 1 mm é\\RECHERCHE")
    header = derive(tmp_path, derivation=derivation, tags={"SpecificCharacterSet": None}).headers[0]
    assert header.DerivationDescription.startswith("5 ? 1 mm mode?le/xy")
    assert len(header.DerivationDescription) == 1024
    assert header.SeriesDescription == "thick AI fin 1 mm e?/RECHERCHE"
    for bad in ("", "x" * 65):
        with pytest.raises(LamellaError, match="series label"):
            changed(series_label=bad)


def test_times_are_in_the_sources_time_zone(tmp_path: Path) -> None:
    header = derive(tmp_path, tags={"TimezoneOffsetFromUTC": "-0930"}).headers[0]
    (item, _) = header.ContributingEquipmentSequence
    assert item.ContributionDateTime.endswith("-0930")
    assert item.ContributionDateTime[:14] == header.SeriesDate + header.SeriesTime


@pytest.mark.parametrize("offset", ["+9999", "-2400", "+12", "noon"])
def test_a_time_zone_that_is_none_counts_for_nothing(tmp_path: Path, offset: str) -> None:
    header = derive(tmp_path, tags={"TimezoneOffsetFromUTC": offset}).headers[0]
    assert header.StudyInstanceUID
