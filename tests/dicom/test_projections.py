"""Intensity projections: slabs of extreme values, whatever says so, are not taken for slices that average."""

from __future__ import annotations

import numpy as np
import pytest
from tests.dicom_builder import build_series, phantom_hu

from lamella.dicom import read_series
from lamella.dicom.labels import code_item
from lamella.errors import RefusedInput

DERIVED = {"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}


@pytest.mark.parametrize(
    "said",
    [
        {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MIP"]},
        {"ImageType": ["DERIVED", "SECONDARY", "MINIP"]},
        {"ImageType": ["DERIVED", "PRIMARY", "VOLUME", "MAX_IP"]},
        {"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED", "MIN IP"]},
        {"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED", "MAXIMUM"]},
        {"VolumeBasedCalculationTechnique": "MIN_IP"},
        {"DerivationCodeSequence": [code_item("113078", "Maximum intensity projection")]},
        {**DERIVED, "DerivationDescription": "Maximum Intensity Projection, slab of 10 mm"},
        {**DERIVED, "SeriesDescription": "Thorax MIP 10/5"},
        {**DERIVED, "SeriesDescription": "lung MinIP ax"},
    ],
)
def test_projections_are_no_slices(tmp_path, said):  # SPEC C6: their values are no means of a slab
    build_series(tmp_path / "axial", phantom_hu())
    build_series(tmp_path / "mip", phantom_hu(seed=1), series_uid="1.2.3.77", tags=said)
    volume = read_series(tmp_path)
    np.testing.assert_array_equal(volume.hu, phantom_hu())
    assert any("1.2.3.77" in note for note in volume.header.notes)
    with pytest.raises(RefusedInput, match="is an intensity projection"):
        read_series(tmp_path, "1.2.3.77")


def test_a_word_of_a_description_is_noted_where_images_are_original(tmp_path):
    build_series(tmp_path, phantom_hu(), tags={"SeriesDescription": "Mustermann for MIP"})
    volume = read_series(tmp_path)
    np.testing.assert_array_equal(volume.hu, phantom_hu())
    (note,) = volume.header.notes
    assert note.startswith("the word MIP in SeriesDescription: ")
    assert "Mustermann" not in note


def test_a_word_that_only_begins_like_a_projection_is_none(tmp_path):
    build_series(
        tmp_path,
        phantom_hu(),
        tags={"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "MIPOS"], "SeriesDescription": "MIPROX"},
    )
    np.testing.assert_array_equal(read_series(tmp_path).hu, phantom_hu())
