"""Few bytes that claim much: refused before there is memory or time for them."""

from __future__ import annotations

import gzip
from pathlib import Path

import imagecodecs
import nibabel as nib
import numpy as np
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate
from tests.dicom_builder import build_enhanced, build_series, phantom_hu
from tests.fuzz.dicom_files import OTHERS

from lamella.dicom import read_series
from lamella.dicom.archive import Archive, Entry
from lamella.dicom.parse import MAX_ITEMS, quiet_pydicom
from lamella.dicom.series import scan, stack_of_series
from lamella.errors import RefusedInput
from lamella.nifti.image import read_nifti

# SPEC C6

ITEM = b"\xfe\xff\x00\xe0" + bytes(4)
ENCODERS = {
    **dict(OTHERS.values()),
    uid.JPEG2000Lossless: lambda one: imagecodecs.jpeg2k_encode(one, codecformat="J2K", level=0, reversible=True),
    uid.JPEG2000: lambda one: imagecodecs.jpeg2k_encode(one, codecformat="JP2", level=0, reversible=True),
    uid.JPEGLSLossless: lambda one: imagecodecs.jpegls_encode(one),
    uid.JPEGLosslessSV1: lambda one: imagecodecs.ljpeg_encode(one, bitspersample=12),
}


def compressed(folder, syntax, stream, shape=(4, 6)):
    build_series(
        folder, np.zeros((2, 4, 6)), pixel_mm=(0.2, 0.2), syntax=syntax, tags={"PixelData": encapsulate([stream])}
    )
    for path in folder.iterdir():
        data = path.read_bytes()
        for tag, size in ((b"\x28\0\x10\0US\2\0", shape[0]), (b"\x28\0\x11\0US\2\0", shape[1])):
            at = data.index(tag) + 8
            data = data[:at] + size.to_bytes(2, "little") + data[at + 2 :]
        path.write_bytes(data)
    return folder


@pytest.mark.parametrize("syntax", ENCODERS)
def test_a_stream_of_another_size_is_refused_before_it_is_decoded(tmp_path, syntax):
    stream = ENCODERS[syntax](np.full((40, 20), 24, np.uint16))
    with pytest.raises(RefusedInput, match=r"another size than its header says\. Found 40 x 20; expected 4 x 6"):
        read_series(compressed(tmp_path, syntax, stream))


def test_a_stream_of_several_components_is_refused(tmp_path):
    stream = imagecodecs.jpeg2k_encode(np.zeros((4, 6, 3), np.uint16), codecformat="J2K", level=0, reversible=True)
    with pytest.raises(RefusedInput, match=r"cannot be decoded \(JPEG 2000 .*; ValueError\)"):
        read_series(compressed(tmp_path, uid.JPEG2000Lossless, stream))


def test_a_frame_far_too_short_for_its_size_is_refused(tmp_path):
    stream = imagecodecs.jpegls_encode(np.zeros((4000, 4000), np.uint16))
    with pytest.raises(RefusedInput, match=r"looks like a bomb: .* bytes decode to 32,000,000, at most 16,777,216"):
        read_series(compressed(tmp_path, uid.JPEGLSLossless, stream, (4000, 4000)))


def test_a_series_far_too_short_for_its_volume_is_refused(tmp_path):
    build_enhanced(tmp_path / "e.dcm", phantom_hu(9, 2, 2), pixel_mm=(0.2, 0.2), tags={"Rows": 8000, "Columns": 8000})
    with pytest.raises(RefusedInput, match=r"looks like a bomb: .* bytes of files claim 1,152,000,000 bytes of pixels"):
        read_series(tmp_path)


def test_an_image_far_too_short_for_its_header_is_refused(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((1024, 1024, 1025))
    header["vox_offset"] = 352
    path = tmp_path / "v.nii.gz"
    path.write_bytes(
        gzip.compress(header.binaryblock + bytes(4)) + bytes(2**22)
    )  # deflate could hold it in this length
    with pytest.raises(RefusedInput, match="claims too much"):
        read_nifti(path)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian])
def test_a_file_of_countless_items_is_refused(tmp_path, syntax):
    with quiet_pydicom():
        build_series(tmp_path, phantom_hu(2, 4, 4), syntax=syntax, tags={0x00091010: ("UN", ITEM * (MAX_ITEMS + 1))})
    with pytest.raises(RefusedInput, match=r"0000.dcm has 200,001 items in its sequences, at most 200,000 are read"):
        read_series(tmp_path)


def test_a_file_that_is_there_twice_is_read_a_few_times_however_many_frames_it_has(tmp_path):
    build_enhanced(tmp_path / "e.dcm", phantom_hu(40, 4, 4))
    data = (tmp_path / "e.dcm").read_bytes()
    reads = []

    def read(size):
        reads.append(size)
        return data if size < 0 else data[:size]

    with quiet_pydicom():
        found = scan(Archive(tuple(Entry(name, len(data), read, Path(name)) for name in "ab"), ()))
        stack = stack_of_series(found.series[0])
    assert len(stack.slices) == 40
    assert any("the same file twice" in note for note in stack.notes)
    assert len(reads) < 12
