"""Series as 3D Slicer exports them, written by the library that Slicer uses (GDCM, through SimpleITK).

The attributes are those of Slicer's "Create a DICOM Series" (Modules/CLI/CreateDICOMSeries), which the export of scalar volumes
calls: positions and cosines with six significant digits, a window of each slice's own, thickness equal to the spacing.
"""

from __future__ import annotations

import locale

import numpy as np
import pytest
from tests.derived_series import DERIVATION
from tests.dicom_builder import body_hu

from lamella.dicom import read_series
from lamella.dicom.write import check_writable
from lamella.errors import RefusedInput

# SPEC C6

itk = pytest.importorskip("SimpleITK")

OBLIQUE = (0.96, 0.28, 0.0, -0.2688, 0.9216, 0.28)


@pytest.fixture(autouse=True)
def same_locale():
    """ITK's writer leaves the process in the C locale, where the text of other processes is no UTF-8 any more."""
    before = locale.setlocale(locale.LC_CTYPE)
    yield
    locale.setlocale(locale.LC_CTYPE, before)


def six(*values):
    """As a C++ stream writes numbers."""
    return "\\".join(f"{one:.6g}" for one in values)


def slicer_export(folder, hu, spacing_mm, origin_mm, orientation=(1, 0, 0, 0, 1, 0), modality="CT", order=1):
    """(z, y, x) HU as Slicer writes it; order -1 counts instances against the slices, as `reverseImages` does."""
    folder.mkdir(exist_ok=True)
    row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    normal = np.cross(row, column)
    writer = itk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k, plane in enumerate(hu):
        position = np.array(origin_mm) + k * spacing_mm * normal
        image = itk.GetImageFromArray(plane[None])
        image.SetSpacing((0.7, 0.8, spacing_mm))
        image.SetDirection(np.stack([row, column, normal], axis=1).ravel().tolist())
        image.SetOrigin(position.tolist())
        low, high = float(plane.min()), float(plane.max())
        for tag, value in {
            "0008|0005": "ISO_IR 192", "0008|0008": "ORIGINAL\\PRIMARY\\AXIAL", "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0028|1054": "HU", "0010|0010": "Anonymous", "0010|0020": "123456", "0010|0040": "", "0010|0030": "",
            "0020|0010": "SLICER10001", "0008|0050": "", "0008|0020": "", "0008|0030": "", "0008|0090": "",
            "0008|0070": "Unknown", "0008|1090": "Unknown", "0018|5100": "HFS", "0020|1040": "", "0008|0060": modality,
            "0020|0011": "201", "0008|103e": "No series description", "0020|000d": "1.2.3.4", "0020|000e": "1.2.3.5",
            "0020|0052": "1.2.3.6", "0020|0013": str(k + 1 if order > 0 else len(hu) - k), "0020|0032": six(*position),
            "0020|0037": six(*row, *column), "0018|0050": six(spacing_mm), "0028|1050": six((low + high) / 2),
            "0028|1051": six(high - low),
        }.items():  # fmt: skip
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"IMG{k + 1:04d}.dcm"))
        writer.Execute(image)


@pytest.mark.parametrize(
    ("spacing_mm", "origin_mm"),
    [(5.0, (-124.636718, -248.2, -335.5)), (2.5, (-120.13, -99.7, 985.33)), (0.625, (9, 9, 992.1))],
)
@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), OBLIQUE])
@pytest.mark.parametrize("order", [1, -1])
def test_slicer_exports_are_read(tmp_path, spacing_mm, origin_mm, orientation, order):
    hu = body_hu(24)
    slicer_export(tmp_path / "in", hu, spacing_mm, origin_mm, orientation, order=order)
    volume = read_series(tmp_path / "in")
    normal = np.cross(orientation[:3], orientation[3:])
    np.testing.assert_array_equal(volume.hu, hu)
    assert volume.geometry.spacing_mm == pytest.approx(spacing_mm, abs=1e-3)
    assert volume.geometry.thickness_mm == pytest.approx(spacing_mm)
    for k in (0, 12, 23):  # 1000 mm and more have two decimals
        np.testing.assert_allclose(
            volume.geometry.position(k), np.array(origin_mm) + k * spacing_mm * normal, atol=0.012
        )
    check_writable(volume, volume.geometry, DERIVATION)


def test_an_export_of_a_slicer_volume_as_another_modality_is_refused(tmp_path):
    slicer_export(tmp_path / "in", body_hu(4), 5.0, (0, 0, 0), modality="MR")
    with pytest.raises(RefusedInput, match=r"IMG0001.dcm is not CT. Found Modality MR"):
        read_series(tmp_path / "in")


@pytest.mark.parametrize(
    ("hu", "why"), [(body_hu(4) + np.int16(1024), "nothing below 0"), (np.ones((4, 48, 48), np.int16), "")]
)
def test_an_export_that_is_no_ct_in_hu_is_refused(tmp_path, hu, why):
    """Label maps and shifted values are exported as CT, too."""
    slicer_export(tmp_path / "in", hu, 5.0, (0, 0, 0))
    with pytest.raises(RefusedInput, match=f"cannot be Hounsfield units .*{why}"):
        read_series(tmp_path / "in")
