"""Every transfer syntax gives the same HU."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate
from tests.dicom_builder import body_hu, build_series, phantom_hu
from tests.jpeg_lossless import encode

from lamella.dicom import read_series
from lamella.errors import RefusedInput


@pytest.mark.parametrize(
    "syntax",
    [
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian,
        uid.RLELossless,
        uid.JPEGLSLossless,
        uid.JPEG2000Lossless,
        uid.JPEGLossless,
        uid.JPEGLosslessSV1,
    ],
)
@pytest.mark.parametrize(("signed", "bits"), [(False, 12), (True, 13), (True, 16), (False, 16)])
def test_every_lossless_transfer_syntax_gives_the_same_hu(tmp_path, syntax, signed, bits):
    hu = phantom_hu(3)
    build_series(tmp_path, hu, syntax=syntax, signed=signed, bits=bits)
    np.testing.assert_array_equal(read_series(tmp_path).hu, hu)


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("bits", [12, 16])
def test_jpeg_lossless_with_every_predictor(tmp_path, predictor, bits):
    hu = phantom_hu(2)
    stored = (hu.astype(np.int32) + 1024).astype(np.uint16)
    data = {k: {"PixelData": encapsulate([encode(stored[k], bits, predictor)])} for k in range(2)}
    build_series(tmp_path, hu, syntax=uid.JPEGLossless, bits=bits, per_slice=data)
    np.testing.assert_array_equal(read_series(tmp_path).hu, hu)


@pytest.mark.parametrize(("shift", "signed", "bits"), [(1, False, 12), (2, True, 16), (4, False, 16)])
def test_jpeg_lossless_with_a_point_transform(tmp_path, shift, signed, bits):
    """The encoder left the lowest bits out; bone is not halved for that."""
    hu = body_hu(2)
    words = (hu.astype(np.int32) + (0 if signed else 1024)).astype(np.uint16)
    data = {k: {"PixelData": encapsulate([encode(words[k], bits, 1, shift)])} for k in range(2)}
    build_series(tmp_path, hu, syntax=uid.JPEGLossless, signed=signed, bits=bits, per_slice=data)
    np.testing.assert_array_equal(read_series(tmp_path).hu, hu >> shift << shift)


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEGLSLossless])
@pytest.mark.parametrize("stated", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
def test_compressed_pixels_under_an_uncompressed_syntax_are_refused(tmp_path, syntax, stated):
    """Those of run lengths are longer than the pixels, so that their number of bytes does not tell."""
    build_series(tmp_path, phantom_hu(3, 64, 64), syntax=syntax, signed=True, bits=16)
    for path in tmp_path.iterdir():
        data = path.read_bytes()
        path.write_bytes(
            data.replace(syntax.encode().ljust(22, b"\0")[: len(syntax) + len(syntax) % 2], _padded(stated, syntax))
        )
    with pytest.raises(
        RefusedInput, match=r"The pixels of 0000.dcm are compressed. Its transfer syntax says that they are not"
    ):
        read_series(tmp_path)


def _padded(stated, syntax):
    return stated.encode().ljust(len(syntax) + len(syntax) % 2, b"\0")


def test_a_signed_jpeg_2000_code_stream(tmp_path):
    hu = phantom_hu(2)
    frames = [imagecodecs.jpeg2k_encode(one, codecformat="J2K", level=0, reversible=True) for one in hu]
    data = {k: {"PixelData": encapsulate([frames[k]])} for k in range(2)}
    build_series(tmp_path, hu, syntax=uid.JPEG2000Lossless, signed=True, bits=16, per_slice=data)
    np.testing.assert_array_equal(read_series(tmp_path).hu, hu)


def test_twelve_bits_signed_without_sign_extension(tmp_path):
    stored = np.full((4, 6), 0x0F00, np.int16)  # -256 in twelve bits, the unused high bits zero
    build_series(tmp_path, np.zeros((3, 4, 6)), signed=True, tags={"stored": stored})
    assert (read_series(tmp_path).hu == -256).all()


@pytest.mark.parametrize(
    ("syntax", "encode_frame", "error_hu"),
    [
        (uid.JPEGLSNearLossless, lambda one: imagecodecs.jpegls_encode(one, level=3), 3),
        (
            uid.JPEG2000,
            lambda one: imagecodecs.jpeg2k_encode(one, codecformat="J2K", level=60, reversible=False, bitspersample=12),
            60,
        ),
        (uid.JPEGExtended12Bit, lambda one: imagecodecs.jpeg8_encode(one, level=90, bitspersample=12), 400),
    ],
)
def test_lossy_transfer_syntaxes_are_read_with_a_note(tmp_path, syntax, encode_frame, error_hu):
    hu = phantom_hu(2)
    stored = (hu.astype(np.int32) + 1024).astype(np.uint16)
    data = {k: {"PixelData": encapsulate([encode_frame(stored[k])])} for k in range(2)}
    build_series(tmp_path, hu, syntax=syntax, per_slice=data)
    volume = read_series(tmp_path)
    error = np.abs(volume.hu - np.maximum(hu, -1024)).max()
    assert 0 < error <= error_hu
    assert any("lossy compression: 2 slices" in note for note in volume.header.notes)
    # JPEG 2000 4.91 may be lossless: there the flag is whatever the file says.
    flags = {one.get("LossyImageCompression") for one in volume.header.slices}
    assert flags == ({None} if syntax == uid.JPEG2000 else {"01"})


def test_files_without_preamble_are_read(tmp_path):
    build_series(tmp_path, phantom_hu(3), syntax=uid.ExplicitVRLittleEndian)
    build_series(tmp_path / "old", phantom_hu(3, seed=2), syntax=uid.ImplicitVRLittleEndian, series_uid="1.2.3.2")
    for path in tmp_path.rglob("*.dcm"):
        data = path.read_bytes()[132:]
        length = 12 + int.from_bytes(data[8:12], "little")
        # The second series loses its file meta information as well.
        path.write_bytes(data[length:] if path.parent.name == "old" else data)
    np.testing.assert_array_equal(read_series(tmp_path, "1.2.826.0.1.3680043.8.498.1").hu, phantom_hu(3))
    np.testing.assert_array_equal(read_series(tmp_path, "1.2.3.2").hu, phantom_hu(3, seed=2))


def test_a_lossy_history_is_noted(tmp_path):
    build_series(tmp_path, phantom_hu(3), tags={"LossyImageCompression": "01"})
    assert any("lossy compression: 3 slices" in note for note in read_series(tmp_path).header.notes)
