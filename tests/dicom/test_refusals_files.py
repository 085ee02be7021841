"""Files that are cut off, corrupt or hostile: each is built, and refused with its name."""

from __future__ import annotations

import gzip
import os
import tarfile
import zipfile
import zlib

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate
from tests.dicom_builder import build_series, encoder, phantom_hu

from lamella.dicom import archive, list_series, read_series
from lamella.errors import RefusedInput, UsageError

# SPEC C6

COMPRESSED = [uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.JPEGLosslessSV1]


def cut(path, count):
    path.write_bytes(path.read_bytes()[:-count])


def test_source_that_does_not_exist(tmp_path):
    with pytest.raises(UsageError, match=r"SOURCE nowhere does not exist"):
        read_series(tmp_path / "nowhere")


def test_empty_folder(tmp_path):
    with pytest.raises(RefusedInput, match=r"holds no files. Expected DICOM files"):
        read_series(tmp_path)


def test_folder_without_dicom(tmp_path):
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(RefusedInput, match=r"no DICOM images.*1 file is not DICOM, ignored: readme.txt"):
        list_series(tmp_path)


@pytest.mark.parametrize(("left", "state"), [(0, "empty"), (100, "nothing but zeros"), (None, "named like DICOM")])
@pytest.mark.parametrize("number", ["0003", "0007"])
def test_a_slice_whose_copy_failed_is_refused_also_at_the_end(tmp_path, left, state, number):
    # SPEC C6: a file less at the end leaves a regular stack, and nobody would know
    build_series(tmp_path, phantom_hu())
    file = tmp_path / f"{number}.dcm"
    if left is None:
        file.write_bytes(b"\xff" * 5000)
    else:
        bare = file.rename(tmp_path / "IM0001")
        bare.write_bytes(bare.read_bytes()[:left])
    with pytest.raises(RefusedInput, match=rf"{state}.*its copy failed"):
        read_series(tmp_path)


def test_truncated_uncompressed_pixels(tmp_path):
    build_series(tmp_path, phantom_hu())
    cut(tmp_path / "0005.dcm", 100)
    with pytest.raises(RefusedInput, match=r"0005.dcm has the wrong length.*Found 540 bytes, expected 640"):
        read_series(tmp_path)


@pytest.mark.parametrize("syntax", COMPRESSED)
@pytest.mark.parametrize("count", [30, 300])
def test_truncated_compressed_file(tmp_path, syntax, count):
    build_series(tmp_path, phantom_hu(4), syntax=syntax)
    cut(tmp_path / "0002.dcm", count)
    with pytest.raises(RefusedInput, match=r"0002.dcm (cannot be decoded|has no pixel data)"):
        read_series(tmp_path)


@pytest.mark.parametrize("syntax", COMPRESSED)
def test_truncated_code_stream_in_a_whole_file(tmp_path, syntax):
    stored = (phantom_hu(4)[2].astype(np.int32) + 1024).astype(np.uint16)
    half = encoder(syntax, 12)(stored)[:-60]
    build_series(tmp_path, phantom_hu(4), syntax=syntax, per_slice={2: {"PixelData": encapsulate([half])}})
    with pytest.raises(RefusedInput, match=r"pixel data of 0002.dcm cannot be decoded"):
        read_series(tmp_path)


@pytest.mark.parametrize("syntax", COMPRESSED)
def test_code_stream_of_another_size(tmp_path, syntax):
    """A code stream may claim any size; the header decides how much memory is used."""
    large = encoder(syntax, 12)(np.zeros((32, 40), np.uint16))
    build_series(tmp_path, phantom_hu(4), syntax=syntax, per_slice={2: {"PixelData": encapsulate([large])}})
    with pytest.raises(RefusedInput, match=r"0002.dcm (cannot be decoded|have another size)"):
        read_series(tmp_path)


@pytest.mark.parametrize("syntax", COMPRESSED)
def test_noise_for_a_code_stream(tmp_path, syntax):
    noise = np.random.default_rng(1).bytes(500)
    build_series(tmp_path, phantom_hu(4), syntax=syntax, per_slice={2: {"PixelData": encapsulate([noise])}})
    with pytest.raises(RefusedInput, match=r"pixel data of 0002.dcm cannot be decoded"):
        read_series(tmp_path)


def test_no_pixel_data(tmp_path):
    build_series(tmp_path, phantom_hu(), per_slice={1: {"PixelData": None}})
    with pytest.raises(RefusedInput, match=r"0001.dcm has no pixel data"):
        read_series(tmp_path)


def test_values_beyond_bits_stored(tmp_path):
    build_series(tmp_path, phantom_hu(), per_slice={1: {"stored": np.full((16, 20), 5000, np.uint16)}})
    with pytest.raises(RefusedInput, match=r"0001.dcm holds stored values that do not fit BitsStored 12 \(unsigned\)"):
        read_series(tmp_path)


def test_a_transfer_syntax_that_is_not_read(tmp_path):
    build_series(tmp_path, phantom_hu(3))
    for path in tmp_path.iterdir():  # same length, so that no other length changes
        path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"))
    with pytest.raises(RefusedInput, match=r"transfer syntax of 0000.dcm is not read"):
        read_series(tmp_path)


def test_header_cut_off(tmp_path):
    build_series(tmp_path, phantom_hu(3))
    (tmp_path / "0002.dcm").write_bytes((tmp_path / "0002.dcm").read_bytes()[:400])
    with pytest.raises(RefusedInput, match=r"0002.dcm .* (without a SeriesInstanceUID|cannot be parsed)"):
        read_series(tmp_path)
    assert "0002.dcm" in list_series(tmp_path)[0].refusal


def test_garbage_behind_a_dicom_prefix(tmp_path):
    build_series(tmp_path, phantom_hu(3))
    (tmp_path / "x.dcm").write_bytes(bytes(128) + b"DICM" + np.random.default_rng(0).bytes(2000))
    with pytest.raises(RefusedInput, match=r"x.dcm (starts as DICOM and cannot be parsed|is DICOM without)"):
        read_series(tmp_path)


def test_declared_length_of_four_gigabytes(tmp_path):
    build_series(tmp_path, phantom_hu(3))
    path = tmp_path / "0001.dcm"
    data = path.read_bytes()
    at = data.rindex(b"\xe0\x7f\x10\x00OW")
    path.write_bytes(data[: at + 8] + (0xFFFFFFF0).to_bytes(4, "little") + data[at + 12 : at + 600])
    with pytest.raises(RefusedInput, match=r"0001.dcm"):
        read_series(tmp_path)


def test_sequences_nested_without_end(tmp_path):
    build_series(tmp_path, phantom_hu(3))
    path = tmp_path / "0001.dcm"
    data = path.read_bytes()
    at = data.rindex(b"\xe0\x7f\x10\x00OW")
    opening = b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    path.write_bytes(data[:at] + opening * 5000)
    with pytest.raises(RefusedInput, match=r"0001.dcm"):
        read_series(tmp_path)


def test_deflate_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "SMALL_BYTES", 2**20)
    build_series(tmp_path, phantom_hu(3), syntax=uid.DeflatedExplicitVRLittleEndian)
    path = tmp_path / "0001.dcm"
    data = path.read_bytes()
    meta = 132 + 12 + int.from_bytes(data[140:144], "little")
    inflated = zlib.decompress(data[meta:], -zlib.MAX_WBITS)
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    path.write_bytes(data[:meta] + packer.compress(inflated + bytes(4 * 2**20)) + packer.flush())
    with pytest.raises(RefusedInput, match=r"0001.dcm looks like a deflate bomb: .* inflate to more than 1,048,576"):
        read_series(tmp_path)


def test_deflated_data_set_cut_off(tmp_path):
    build_series(tmp_path, phantom_hu(3), syntax=uid.DeflatedExplicitVRLittleEndian)
    cut(tmp_path / "0001.dcm", 40)
    with pytest.raises(RefusedInput, match=r"0001.dcm is cut off: its deflated data set has no end"):
        read_series(tmp_path)


def test_names_of_files_and_values_of_headers_never_steer_the_terminal(tmp_path):
    escape = "\x1b[2Jred\x07"
    build_series(tmp_path, phantom_hu(), prefix=escape, per_slice={3: {"PixelSpacing": None}})
    with pytest.raises(RefusedInput, match=r"missing or unreadable in \?\[2Jred\?0003.dcm"):
        read_series(tmp_path)
    build_series(tmp_path / "kernel", phantom_hu(), tags={"ConvolutionKernel": escape})
    (tmp_path / "kernel" / f"note{escape}.txt").write_text("hello")
    (summary,) = list_series(tmp_path / "kernel")
    assert "\x1b" not in repr(vars(summary)) + str(summary.kernel)
    assert "\\x1b" not in repr(vars(summary))


def test_names_that_are_not_utf8(tmp_path):
    build_series(tmp_path, phantom_hu(), per_slice={3: {"PixelSpacing": None}})
    for path in tmp_path.iterdir():
        path.rename(path.with_name(os.fsdecode(b"Sch\xe4del" + path.name.encode())))
    with pytest.raises(RefusedInput, match=r"in Sch\?del0003.dcm") as caught:
        read_series(tmp_path)
    str(caught.value).encode()  # a lone surrogate would raise here, in every locale


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_a_folder_that_holds_nifti_is_told_to_give_the_file(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x1f\x8b" + bytes(400))
    with pytest.raises(RefusedInput, match=rf"is NIfTI, ignored: {name}. Give the NIfTI file itself as SOURCE"):
        read_series(tmp_path)


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_slice_that_was_compressed_with_gzip_is_not_left_out(tmp_path, number, bare):
    build_series(tmp_path, phantom_hu(3))
    path = tmp_path / f"{number:04d}.dcm"
    path.with_suffix(".gz").write_bytes(gzip.compress(path.read_bytes()[132 if bare else 0 :]))
    path.unlink()
    with pytest.raises(
        RefusedInput, match=rf"{number:04d}.gz is a DICOM file that was compressed with gzip. Unpack all"
    ):
        read_series(tmp_path)


def packed(folder, kind):
    """A study in a tar archive of one kind, or bytes that another archive begins with."""
    build_series(folder / "ct", phantom_hu(3))
    path = folder / f"study.{kind}"
    mode = {"tar": "w", "tar.gz": "w:gz", "tgz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}.get(kind)
    if mode:
        with tarfile.open(path, mode) as archive:
            archive.add(folder / "ct", "ct")
    else:
        path.write_bytes({"7z": b"7z\xbc\xaf\x27\x1c", "rar": b"Rar!\x1a\x07\x01\x00"}[kind] + bytes(600))
    return path


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tgz", "tar.bz2", "tar.xz", "7z", "rar"])
@pytest.mark.parametrize("within", ["itself", "folder", "zip"])
def test_other_archives_are_told_to_be_unpacked(tmp_path, kind, within):
    source = packed(tmp_path, kind)
    if within == "folder":
        (tmp_path / "in").mkdir()
        source = source.rename(tmp_path / "in" / source.name).parent
    elif within == "zip":
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as file:
            file.write(source, source.name)
        source = tmp_path / "in.zip"
    with pytest.raises(
        RefusedInput, match=rf"1 file is an archive, ignored: study.{kind}. Unpack it and give the folder"
    ):
        read_series(source)


OTHER_FORMATS = [
    b"NRRD0005",
    b"ObjectType = Image",
    b"\x89HDF",
    b"# vtk Data",
    b"\x93NUMPY",
    b"II*\0",
    b"CDF",
    b"\\\1\0\0",
]


@pytest.mark.parametrize("begin", OTHER_FORMATS)
def test_other_formats_are_told_to_be_converted(tmp_path, begin):
    (tmp_path / "scan.x").write_bytes(begin + bytes(600))
    with pytest.raises(RefusedInput, match=r"another format, ignored: scan.x. Convert it to NIfTI, or export it as"):
        read_series(tmp_path)


def test_nifti_and_archives_beside_a_series_are_listed(tmp_path):
    build_series(tmp_path / "ct", phantom_hu(3))
    packed(tmp_path / "more", "tar.gz").rename(tmp_path / "ct" / "study.tar.gz")
    (tmp_path / "ct" / "mask.nii.gz").write_bytes(gzip.compress(bytes(400)))
    volume = read_series(tmp_path / "ct")
    np.testing.assert_array_equal(volume.hu, phantom_hu(3))
    notes = volume.header.notes
    assert "1 file is an archive, ignored: study.tar.gz" in notes
    assert "1 file is NIfTI, ignored: mask.nii.gz" in notes


@pytest.mark.parametrize("kind", ["DICOMDIR", "gz"])
def test_what_to_do_with_a_dicomdir_or_gz_alone(tmp_path, kind):
    build_series(tmp_path / "ct", phantom_hu(3))
    if kind == "gz":
        for path in (tmp_path / "ct").iterdir():
            path.with_suffix(".dcm.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
        with pytest.raises(
            RefusedInput, match=r"0000.dcm.gz is a DICOM file that was compressed with gzip. Unpack all such files"
        ):
            read_series(tmp_path / "ct")
        return
    directory = pydicom.dcmread(tmp_path / "ct" / "0000.dcm")
    directory.SOPClassUID = directory.file_meta.MediaStorageSOPClassUID = uid.MediaStorageDirectoryStorage
    del directory.PixelData
    directory.save_as(tmp_path / "DICOMDIR")
    with pytest.raises(RefusedInput, match=r"a DICOMDIR, ignored: DICOMDIR. .*give the folder that it lies in"):
        read_series(tmp_path / "DICOMDIR")
    np.testing.assert_array_equal(read_series(tmp_path).hu, phantom_hu(3))
