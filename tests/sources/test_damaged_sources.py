"""Whatever is done to the bytes of a source, it is read or refused in words, never with a traceback or a name."""

from __future__ import annotations

import contextlib
import zipfile

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dicom_builder import build_enhanced, build_series, phantom_hu
from tests.fuzz.dicom_files import LOSSLESS

from lamella.dicom.parse import quiet_pydicom
from lamella.errors import RefusedInput
from lamella.sources.source import inspect_source, read_source

# SPEC C6

HU = phantom_hu(3, 8, 8)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    root = tmp_path_factory.mktemp("damaged")
    for name, syntax in LOSSLESS.items():
        build_series(root / name, HU, syntax=syntax, tags={"PixelPaddingValue": ("US", 0)})
    build_enhanced(root / "enhanced" / "e.dcm", HU)
    image = nib.Nifti1Image(HU.transpose(2, 1, 0), np.diag([-1.0, -1.0, 5.0, 1.0]))
    nib.save(image, root / "v.nii")
    nib.save(image, root / "v.nii.gz")
    with zipfile.ZipFile(root / "s.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for path in (root / "explicit").iterdir():
            file.write(path, path.name)
    return root


@st.composite
def damages(draw):
    """A function bytes -> bytes: cut, insert, remove or overwrite."""
    kind = draw(st.sampled_from(["cut", "insert", "remove", "overwrite", "overwrite", "overwrite"]))
    places = draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=6))
    junk = draw(st.binary(min_size=1, max_size=12))

    def damage(data: bytes) -> bytes:
        at = int(places[0] * len(data))
        if kind == "cut":
            return data[:at]
        if kind == "insert":
            return data[:at] + junk + data[at:]
        if kind == "remove":
            return data[:at] + data[at + len(junk) :]
        changed = bytearray(data)
        for k, place in enumerate(places):
            changed[int(place * len(data))] = junk[k % len(junk)]
        return bytes(changed)

    return damage


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from([*LOSSLESS, "enhanced", "v.nii", "v.nii.gz", "s.zip"]), damage=damages())
def test_damage_is_read_or_refused(sources, name, damage):
    source = sources / name
    path = sorted(source.iterdir())[-1] if source.is_dir() else source
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    try:
        for verb in (inspect_source, read_source):
            try:
                verb(source)
            except RefusedInput as refusal:
                assert "Mustermann" not in str(refusal)  # noqa: PT017 - reading may also succeed
    finally:
        path.write_bytes(whole)


def test_an_unknown_vr_in_the_file_meta_is_left_out(sources):  # SPEC C6
    path = sorted((sources / "explicit").iterdir())[-1]
    whole = path.read_bytes()
    version = whole.index(b"\x02\x00\x01\x00OB")
    path.write_bytes(whole[: version + 5] + b"\x00" + whole[version + 6 :])
    try:
        for verb in (inspect_source, read_source):
            with contextlib.suppress(RefusedInput):
                verb(sources / "explicit")
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SamplesPerPixel", "SeriesInstanceUID", "GantryDetectorTilt"])
def test_text_where_a_code_belongs_is_refused_and_not_quoted(tmp_path, keyword):  # SPEC C6
    tilted = {"positions_mm": [(0, 2.0 * k, 5 * k) for k in range(3)]} if keyword == "GantryDetectorTilt" else {}
    with quiet_pydicom():
        build_series(tmp_path, HU, tags={keyword: ("LO", "Mustermann^Erika")}, **tilted)
    with pytest.raises(RefusedInput) as refusal:
        read_source(tmp_path)
    assert "Mustermann" not in str(refusal.value)
    with contextlib.suppress(RefusedInput):
        assert "Mustermann" not in repr(inspect_source(tmp_path))


@pytest.mark.parametrize("place", [b"\x02\x00\x10\x00UI", b"\x08\x00\x16\x00UI"])
def test_two_uids_where_one_belongs_are_refused(tmp_path, place):  # SPEC C6
    build_series(tmp_path, HU)
    for path in tmp_path.iterdir():
        data = path.read_bytes()
        at = data.index(place) + 8
        path.write_bytes(data[: at + 3] + b"\\" + data[at + 4 :])
    with pytest.raises(RefusedInput):
        read_source(tmp_path)
    with contextlib.suppress(RefusedInput):
        assert inspect_source(tmp_path).refusal


@pytest.mark.parametrize(
    ("vr", "value"),
    [("LO", "1_0.0\\0\\5"), ("LO", "\u0663\\0\\5"), ("LO", "0\\0\\5\\x"), ("AT", [0x2E315C30, 0x2E305C30, 0x2E305C30])],
)
def test_what_is_no_number_in_dicom_is_refused(tmp_path, vr, value):  # SPEC C6
    build_series(tmp_path, HU, tags={"ImagePositionPatient": (vr, value)})
    with pytest.raises(RefusedInput, match=r"ImagePositionPatient \(0020,0032\) is malformed in 0000.dcm"):
        read_source(tmp_path)


@pytest.mark.parametrize("where", ["central", "local"])
def test_a_damaged_name_in_a_zip_is_refused(sources, tmp_path, where):  # SPEC C6
    data = bytearray((sources / "s.zip").read_bytes())
    if where == "central":
        end = data.index(b"PK\x05\x06")
        at = data.rindex(b"PK\x01\x02")
        length = int.from_bytes(data[at + 28 : at + 30], "little")
        data[at + 28 : at + 30] = bytes(2)
        size = int.from_bytes(data[end + 12 : end + 16], "little") - length
        data[end + 12 : end + 16] = size.to_bytes(4, "little")
        del data[at + 46 : at + 46 + length]
    else:
        data[7] |= 0x08  # the name is UTF-8, says the local header, and its first byte is not
        data[30] = 0xFF
    path = tmp_path / "s.zip"
    path.write_bytes(data)
    with pytest.raises(RefusedInput, match="damaged"):
        read_source(path)


@pytest.mark.parametrize("keyword", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
def test_a_sequence_under_another_vr_is_none(tmp_path, keyword):  # SPEC C6
    build_enhanced(tmp_path / "e.dcm", HU, tags={keyword: ("OB", b"12")})
    with pytest.raises(RefusedInput):
        read_source(tmp_path)


def test_a_damaged_code_does_not_quote_what_follows_it(sources):  # SPEC C6
    path = sorted((sources / "explicit").iterdir())[-1]
    whole = path.read_bytes()
    modality = whole.index(b"\x08\x00\x60\x00CS") + 6
    path.write_bytes(whole[:modality] + b"\x80\x02" + whole[modality + 2 :])  # its length reaches over the name
    assert b"Mustermann" in whole[modality : modality + 0x280]
    try:
        with pytest.raises(RefusedInput) as refusal:
            read_source(sources / "explicit")
        assert "Mustermann" not in str(refusal.value)
        assert "Mustermann" not in repr(inspect_source(sources / "explicit"))
    finally:
        path.write_bytes(whole)


def test_a_number_of_a_frame_under_another_vr_is_no_crash(tmp_path):  # SPEC C6
    build_enhanced(tmp_path / "e.dcm", HU)
    data, number = (tmp_path / "e.dcm").read_bytes(), b"\x20\x00\x56\x91"  # FrameAcquisitionNumber
    (tmp_path / "e.dcm").write_bytes(data.replace(number + b"US", number + b"DS", 1))
    with contextlib.suppress(RefusedInput):
        assert len(read_source(tmp_path).hu) == len(HU)
