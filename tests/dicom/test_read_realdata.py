"""Real series, against pydicom's own decoding and the facts in the folders' names."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pydicom
import pytest

from lamella.dicom import list_series, read_series

CT = Path(os.environ.get("LAMELLA_CT", Path(__file__).parents[3] / "shared" / "ct"))

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not CT.is_dir(), reason=f"no real CT at {CT.name}; set LAMELLA_CT"),
]


SERIES = ["pair/phantom-thick-5mm", "train/cptac-c3n00247-3mm", "train/lungfcp-0001-2mm-at-1mm"]


@pytest.mark.parametrize("name", SERIES)
def test_real_series(name):
    volume = read_series(CT / name)
    spacing_mm = float(re.search(r"([\d.]+)mm$", name).group(1))
    assert volume.geometry.spacing_mm == pytest.approx(spacing_mm, abs=1e-3)
    for index in (0, len(volume.hu) // 2, len(volume.hu) - 1):
        dataset = pydicom.dcmread(CT / name / volume.header.files[index])
        expected = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        np.testing.assert_array_equal(volume.hu[index], expected)
        np.testing.assert_allclose(volume.geometry.position(index), dataset.ImagePositionPatient, atol=1e-3)


def test_a_real_pair_needs_a_choice():
    thick, thin = sorted(list_series(CT / "pair"), key=lambda one: one.slices)
    assert (thick.slices, thick.thickness_mm, thick.spacing_mm) == (14, 5.0, 5.0)
    assert (thin.slices, thin.thickness_mm, thin.spacing_mm) == (70, 1.0, 1.0)
