"""A whole run of a multi-frame file that another program wrote: as of the classic files that it was made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid
from tests.dicom_builder import body_hu, build_series

from lamella.cli import main
from lamella.dicom import read_series

# SPEC C5, C6


def converted(folder: Path, path: Path, syntax: str) -> Path:
    """The classic files as one Legacy Converted Enhanced CT of highdicom."""
    legacy = pytest.importorskip("highdicom.legacy")
    enhanced = legacy.LegacyConvertedEnhancedCTImage(
        legacy_datasets=[pydicom.dcmread(file) for file in sorted(folder.iterdir())],
        series_instance_uid="1.2.826.0.1.3680043.8.498.77",
        series_number=7,
        sop_instance_uid="1.2.826.0.1.3680043.8.498.78",
        instance_number=1,
        transfer_syntax_uid=syntax,
    )
    enhanced.save_as(path)
    return path


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.JPEGLSLossless])
@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1)])
def test_a_legacy_converted_file_of_highdicom(
    tmp_path: Path, tiny_model: Path, syntax: str, orientation: tuple
) -> None:
    build_series(
        tmp_path / "classic", body_hu(6), 2.5, 5.0, orientation=orientation,
        tags={"Manufacturer": "M", "ManufacturerModelName": "N", "DeviceSerialNumber": "1",
              "SoftwareVersions": "1", "FrameOfReferenceUID": "1.2.3.9"},
    )  # fmt: skip
    enhanced = converted(tmp_path / "classic", tmp_path / "enhanced.dcm", syntax)
    results = {}
    for name, source in (("classic", tmp_path / "classic"), ("enhanced", enhanced)):
        assert main(["inspect", str(source), "--quiet"]) == 0
        out = tmp_path / f"thin-{name}"
        assert main(["thin", str(source), str(out), "--model", str(tiny_model), "--quiet"]) == 0
        results[name] = read_series(out)
    thin, wanted = results["enhanced"], results["classic"]
    np.testing.assert_array_equal(thin.hu, wanted.hu)
    assert thin.geometry == wanted.geometry
    header = thin.header.slices[0]
    assert header.SOPClassUID == uid.CTImageStorage
    assert header.StudyInstanceUID == wanted.header.slices[0].StudyInstanceUID
    assert header.FrameOfReferenceUID == "1.2.3.9"
    (reference,) = {one.ReferencedSOPInstanceUID for one in header.SourceImageSequence}
    assert reference == "1.2.826.0.1.3680043.8.498.78"
    assert {int(one.ReferencedFrameNumber) for one in header.SourceImageSequence} <= set(range(1, 7))
