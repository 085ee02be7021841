"""What the pixels themselves must say: the stream's own precision, values that can be HU, padding outside the body."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.encaps import encapsulate
from tests.dicom_builder import body_hu, build_series, phantom_hu
from tests.jpeg_lossless import encode

from lamella.dicom import list_series, read_series
from lamella.dicom.codestream import StreamFormat, stream_format
from lamella.errors import RefusedInput
from lamella.sources.source import inspect_source

# SPEC C6


def lossless_jpeg(frame, bits):
    return encode(frame, bits, 1)


def jpeg_ls(frame, bits):
    """The encoder takes its precision from the type, so the parameter in SOF55 is written here."""
    data = bytearray(imagecodecs.jpegls_encode(frame))
    at = data.index(b"\xff\xf7")
    assert data[at + 4] == bits
    return bytes(data)


def jpeg_2000(frame, bits):
    return imagecodecs.jpeg2k_encode(frame, codecformat="J2K", level=0, reversible=True, bitspersample=bits)


def jpeg_ls_12(frame, bits):
    encode_buffer = pytest.importorskip("jpeg_ls").encode_buffer
    return bytes(encode_buffer(frame.astype("<u2").tobytes(), *frame.shape, 1, bits))


CODECS = {
    "JPEG-LS": (uid.JPEGLSLossless, jpeg_ls_12),
    "JPEG lossless": (uid.JPEGLosslessSV1, lossless_jpeg),
    "JPEG 2000": (uid.JPEG2000Lossless, jpeg_2000),
}


def compressed(folder, hu, syntax, encoder, stream_bits, **build):
    """`hu` is what the stored words are, before any scale: stored = hu - intercept."""
    intercept = 0 if build.get("signed") else -1024
    words = (hu.astype(np.int32) - intercept).astype(np.uint16) & ((1 << stream_bits) - 1)
    frames = {k: {"PixelData": encapsulate([encoder(one, stream_bits)])} for k, one in enumerate(words)}
    build_series(folder, hu, syntax=syntax, per_slice=frames, **build)


@pytest.mark.parametrize("codec", CODECS)
def test_a_narrow_stream_under_a_wide_signed_header_is_refused_with_both_numbers(tmp_path, codec):
    """Twelve bits in the stream, sixteen signed in the header: air would read 3096 HU."""
    compressed(tmp_path, body_hu(), *CODECS[codec], 12, signed=True, bits=16)
    with pytest.raises(RefusedInput, match=r"0000.dcm .*12.* bits a sample; the header says BitsStored 16, .*ation 1"):
        read_series(tmp_path)
    assert "BitsStored 16" in inspect_source(tmp_path).refusal


@pytest.mark.parametrize("codec", CODECS)
def test_a_narrow_stream_without_its_highest_bit_has_one_meaning(tmp_path, codec):
    """Positive numbers below 2**11 are the same with and without a sign; the air comes from the intercept."""
    stored = {"RescaleIntercept": -1000}
    hu = np.clip(body_hu(), -1000, 1000).astype(np.int16)
    syntax, encoder = CODECS[codec]
    words = (hu + 1000).astype(np.uint16)
    frames = {k: {"PixelData": encapsulate([encoder(one, 12)])} for k, one in enumerate(words)}
    build_series(tmp_path, hu, syntax=syntax, per_slice=frames, signed=True, bits=16, intercept=-1000, tags=stored)
    np.testing.assert_array_equal(read_series(tmp_path).hu, hu)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("stream_bits", "bits"), [(16, 13), (14, 13), (13, 13)])
def test_a_wide_stream_extends_the_sign_by_its_own_bits(tmp_path, codec, stream_bits, bits):
    hu = phantom_hu(3, 20, 20)
    compressed(tmp_path, hu, *CODECS[codec], stream_bits, signed=True, bits=bits)
    np.testing.assert_array_equal(read_series(tmp_path).hu, hu)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("stream_bits", [13, 16])
def test_values_of_the_stream_beyond_bits_stored_are_refused_with_both_numbers(tmp_path, codec, stream_bits):
    compressed(tmp_path, phantom_hu(3) + np.int16(3000), *CODECS[codec], stream_bits, bits=12)
    with pytest.raises(
        RefusedInput, match=rf"0000.dcm .*BitsStored 12 \(unsigned\).*holds {stream_bits}.* bits a sampl"
    ):
        read_series(tmp_path)


def test_a_signed_stream_under_an_unsigned_header(tmp_path):
    frames = [imagecodecs.jpeg2k_encode(one, codecformat="J2K", level=0, reversible=True) for one in body_hu()]
    data = {k: {"PixelData": encapsulate([one])} for k, one in enumerate(frames)}
    build_series(tmp_path, body_hu(), syntax=uid.JPEG2000Lossless, bits=16, per_slice=data)
    with pytest.raises(RefusedInput, match=r"16 signed bits a sample; the header says BitsStored 16, .*ation 0"):
        read_series(tmp_path)


def test_jpeg_ls_of_sixteen_bits_under_thirteen_signed(tmp_path):
    hu = phantom_hu(3)
    frames = {k: {"PixelData": encapsulate([jpeg_ls(one.view(np.uint16), 16)])} for k, one in enumerate(hu)}
    build_series(tmp_path, hu, syntax=uid.JPEGLSLossless, signed=True, bits=13, per_slice=frames)
    np.testing.assert_array_equal(read_series(tmp_path).hu, hu)


@pytest.mark.parametrize("syntax", [uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K])
def test_htj2k_is_read(tmp_path, syntax):
    hu = phantom_hu(3)
    frames = [imagecodecs.htj2k_encode((one + 1024).astype(np.uint16), reversible=True) for one in hu]
    data = {k: {"PixelData": encapsulate([one])} for k, one in enumerate(frames)}
    build_series(tmp_path, hu, syntax=syntax, bits=16, per_slice=data)
    np.testing.assert_array_equal(read_series(tmp_path).hu, hu)


def test_eight_bits_in_the_stream_are_read(tmp_path):
    """A narrow range of values needs no more; here air at 0 and tissue at 250 with a slope of 4."""
    plane = np.where(body_hu(3) > -500, 250, 0).astype(np.uint8)
    frames = {k: {"PixelData": encapsulate([imagecodecs.jpegls_encode(one)])} for k, one in enumerate(plane)}
    build_series(tmp_path, np.zeros(plane.shape), syntax=uid.JPEGLSLossless, slope=4, intercept=-1000, per_slice=frames)
    np.testing.assert_array_equal(np.unique(read_series(tmp_path).hu), [-1000, 0])


def test_formats_of_streams_by_hand():
    words = np.zeros((8, 6), np.uint16)
    assert stream_format(lossless_jpeg(words, 12)) == StreamFormat(12, None, (8, 6))
    assert stream_format(imagecodecs.jpegls_encode(words)) == StreamFormat(16, None, (8, 6))
    assert stream_format(jpeg_2000(words, 12)) == StreamFormat(12, False, (8, 6))
    assert stream_format(imagecodecs.jpeg2k_encode(words.view(np.int16), level=0, codecformat="JP2")).signed
    for damaged in (b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\xff\xd8\xff\xe0\x00\x00", bytes(90)):
        assert stream_format(damaged) is None


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    codec=st.sampled_from(sorted(CODECS)),
    stream_bits=st.integers(9, 16),
    bits=st.integers(9, 16),
    signed=st.booleans(),
    low=st.integers(-1024, 0),
    high=st.integers(1, 3000),
)
def test_any_precision_is_read_exactly_or_refused(tmp_path_factory, codec, stream_bits, bits, signed, low, high):
    folder = tmp_path_factory.mktemp("bits")
    hu = np.linspace(low, high, 2 * 16 * 16).reshape(2, 16, 16).astype(np.int16)
    hu[:, 0, 0] = -1024
    lowest, most = (-1024, int(hu.max())) if signed else (0, int(hu.max()) + 1024)
    if most >= 1 << (min(stream_bits, bits) - signed) or lowest < -(1 << (min(stream_bits, bits) - 1)):
        return  # no encoder could have made this
    compressed(folder, hu, *CODECS[codec], stream_bits, signed=signed, bits=bits)
    try:
        found = read_series(folder).hu
    except RefusedInput as error:
        text = str(error)
        assert signed
        assert f"BitsStored {bits}" in text
        assert f"{stream_bits} " in text
        return
    np.testing.assert_array_equal(found, hu)


def test_air_whose_sign_was_lost(tmp_path):
    """-1000 in twelve bits read as 3096; with an intercept of -1024 the body is air, and the air denser than bone."""
    hu = ((body_hu().astype(np.int32) & 0xFFF) - 1024).astype(np.int16)
    build_series(tmp_path, hu)
    with pytest.raises(RefusedInput, match=r"what lies around the body is near 20.., denser than bone"):
        read_series(tmp_path)


NO_HU = [
    (body_hu() + np.int16(1024), "nothing below 0"),  # RescaleIntercept lost
    (body_hu() + np.int16(700), "what lies around the body is near -[0-9]*"),
    (body_hu() + np.int16(1015), "what lies around the body is near 1[0-9],"),
    (np.where(body_hu() < -500, 0, body_hu() // 8 - 5), "everything around the body is 0"),  # iodine, masked
    (np.full((3, 20, 20), 4000), "nothing below 0"),
    (np.where(np.arange(20) < 4, -1000, 9000) * np.ones((3, 20, 1)), "80 % .* above 3071"),
]
"""Values, and why they are not those of CT."""


@pytest.mark.parametrize(("hu", "why"), NO_HU)
def test_values_that_cannot_be_hounsfield_units(tmp_path, hu, why):
    build_series(tmp_path, np.asarray(hu, np.int16), signed=True, bits=16)
    with pytest.raises(RefusedInput, match=rf"cannot be Hounsfield units \(.*{why}.*Found .* expected CT, with air"):
        read_series(tmp_path)
    assert "cannot be Hounsfield units" in inspect_source(tmp_path).refusal
    assert list_series(tmp_path)[0].refusal is None  # headers alone do not tell


def test_values_beyond_every_ct_are_refused(tmp_path):
    """-2000 outside the field, written as 63536 without PixelPaddingValue."""
    stored = np.full((20, 20), 1064, np.uint16)
    stored[:4], stored[5] = 63536, 24
    build_series(tmp_path, np.zeros((3, 20, 20)), bits=16, tags={"stored": stored})
    with pytest.raises(RefusedInput, match=r"beyond \+-32767"):
        read_series(tmp_path)


@pytest.mark.parametrize("name", ["head", "water", "shoulder", "bone in fat", "lung", "shaft"])
def test_tight_crops_and_phantoms_without_air_are_no_error(tmp_path, name):
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:64, :64] - 31.5
    r = np.hypot(y, x)
    plane = {
        "head": np.where(r < 28, 35, 1200) + np.where(r < 8, -28, 0),
        "water": np.zeros((64, 64)),
        "shoulder": np.where(r < 30, 55, -105),
        "bone in fat": np.where(r < 12, 380, -105),
        "shaft": np.where(r < 7, 60, np.where(r < 12, 1300, np.where(r < 24, 55, -105))),
        "lung": np.full((64, 64), -850),
    }[name]
    hu = np.rint(plane + rng.normal(0, 12, (4, 64, 64))).astype(np.int16)
    build_series(tmp_path, hu, signed=True, bits=16)
    np.testing.assert_array_equal(read_series(tmp_path).hu, hu)


@pytest.mark.parametrize(
    "word",
    [
        "IODINE", "MD", "EFF_Z", "RHO", "ELECTRON_DENSITY", "DE_IODINE", "MAT_SPECIFIC", "EFF_ATOMIC_NUM", "IODINE_NO_WATER",
        "MATERIAL DENSITY", "Z EFFECTIVE", "CBV",
    ],
)  # fmt: skip
def test_maps_of_a_material_are_refused_by_name_and_never_chosen(tmp_path, word):
    build_series(tmp_path / "ct", body_hu())
    map_tags = {"ImageType": ["DERIVED", "PRIMARY", "AXIAL", word]}
    build_series(tmp_path / "map", body_hu(seed=1), series_uid="1.2.3.77", tags=map_tags)
    np.testing.assert_array_equal(read_series(tmp_path).hu, body_hu())
    with pytest.raises(RefusedInput, match=r"0000.dcm is a map of a material, .* in ImageType"):
        read_series(tmp_path, "1.2.3.77")


@pytest.mark.parametrize(
    "word",
    ["MONOENERGETIC", "VMI", "MONOE_70KEV", "IODINE_REMOVED", "MAT_REMOVED", "VNC", "VIRTUAL_NON_CON", "CT_SOM7 MDX"],
)
def test_images_of_attenuation_from_two_energies_are_read(tmp_path, word):
    build_series(tmp_path, body_hu(), tags={"ImageType": ["DERIVED", "PRIMARY", "AXIAL", word]})
    np.testing.assert_array_equal(read_series(tmp_path).hu, body_hu())


@pytest.mark.parametrize("unit", ["hu", "HU ", "US", "us", "Hounsfield", "HOUNSFIELD UNITS", "unspecified"])
def test_units_that_are_hu_or_left_open_are_read(tmp_path, unit):
    build_series(tmp_path, body_hu(), tags={"RescaleType": unit})
    np.testing.assert_array_equal(read_series(tmp_path).hu, body_hu())


@pytest.mark.parametrize("unit", ["MGML", "Z_EFF", "ED", "EDW", "PCT", "HU_MOD", "OD"])
def test_other_units_are_refused(tmp_path, unit):
    build_series(tmp_path, body_hu(), tags={"RescaleType": unit})
    with pytest.raises(RefusedInput, match=rf"0000.dcm is not in Hounsfield units. Found RescaleType {unit}"):
        read_series(tmp_path)


def test_an_open_unit_needs_air_as_proof(tmp_path):
    """In -20 .. 200 mg/100 ml nothing else speaks against HU."""
    noisy = np.rint(np.random.default_rng(0).normal(60, 20, (4, 32, 32))).astype(np.int16) - np.int16(5)
    build_series(tmp_path, noisy, signed=True, bits=16, tags={"RescaleType": "US"})
    with pytest.raises(RefusedInput, match=r"RescaleType of 0000.dcm is US, unspecified"):
        read_series(tmp_path)
