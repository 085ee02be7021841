"""Results that are compressed without loss: the same voxels for every reader. Issue 26, output choices: --compress."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import get_args

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom import uid
from tests.derived_series import DERIVATION, OBLIQUE, derive, split
from tests.dicom.test_conformance import complaints, crowded
from tests.dicom_builder import build_series, phantom_hu

import lamella
from lamella.cli import main
from lamella.dicom import read_series, verify_written, write_series
from lamella.dicom.encode import Compression
from lamella.errors import LamellaError, UsageError
from lamella.volume import Volume
from lamella.workflow import outputs

SYNTAX: dict[Compression, str] = {"jpegls": uid.JPEGLSLossless, "j2k": uid.JPEG2000Lossless}
both = pytest.mark.parametrize("compress", SYNTAX)


def write(folder: Path, thin: Volume, source: Volume, compress: Compression | None) -> tuple[Path, ...]:
    folder.mkdir()
    return write_series(folder, thin, source, DERIVATION, compress=compress)


@both
def test_every_signed_value_comes_back_from_an_independent_decoder(tmp_path: Path, compress: Compression) -> None:
    build_series(tmp_path / "thick", phantom_hu(2, 256, 256))
    source = read_series(tmp_path / "thick")
    every = np.arange(-(2**15), 2**15, dtype=np.int16).reshape(256, 256)
    thin = split(source, 2)
    thin.hu[:] = every, every.T, np.random.default_rng(0).permuted(every), np.int16(-1) + (every & 1)
    files = write(tmp_path / "out", thin, source, compress)
    verify_written(tmp_path / "out", thin)
    for path, plane in zip(files, thin.hu, strict=True):
        header = pydicom.dcmread(path)
        assert header.file_meta.TransferSyntaxUID == SYNTAX[compress]
        assert np.array_equal(header.pixel_array, plane)  # pyjpegls and pylibjpeg-openjpeg


@both
@pytest.mark.parametrize("edit", [None, crowded], ids=["plain", "crowded"])
def test_the_files_are_conformant_and_differ_in_pixels_alone(tmp_path: Path, compress: Compression, edit) -> None:
    derived = derive(tmp_path, orientation=OBLIQUE, edit=edit)
    files = write(tmp_path / "compressed", derived.thin, derived.source, compress)
    assert complaints("dciodvfy", files[0]) == complaints("dciodvfy", files[-1]) == []
    for plain, path in zip(derived.headers, files, strict=True):
        packed = pydicom.dcmread(path)
        differing = {e.keyword for e in packed if e.keyword not in plain or plain[e.keyword].value != e.value}
        times = {"SeriesTime", "ContentTime", "InstanceCreationTime", "ContributingEquipmentSequence"}
        assert differing - times == {"PixelData"}
        assert packed.get("LossyImageCompression", "00") == ("01" if edit else "00")


@both
def test_other_readers_read_the_same_voxels(tmp_path: Path, compress: Compression) -> None:
    itk = pytest.importorskip("SimpleITK")
    build_series(tmp_path / "thick", phantom_hu(4))
    source = read_series(tmp_path / "thick")
    thin = split(source, 5)
    files = write(tmp_path / "out", thin, source, compress)
    assert np.array_equal(read_series(tmp_path / "out").hu, thin.hu)
    image = itk.ReadImage([str(path) for path in files])
    assert np.array_equal(itk.GetArrayFromImage(image), thin.hu)
    assert np.abs(np.array(image.GetOrigin()) - thin.geometry.position(0)).max() < 1e-3
    if shutil.which("dcm2niix") is None:
        pytest.skip("dcm2niix is not installed (Debian package dcm2niix)")
    command = ["dcm2niix", "-f", "made", "-o", str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    if "recompile dcm2niix with JPEGLS" in done.stdout + done.stderr:
        pytest.skip("Debian's dcm2niix was built without JPEG-LS")
    made = nib.load(tmp_path / "made.nii")
    assert np.array_equal(np.asarray(made.dataobj)[:, ::-1].T, thin.hu), done.stdout


@both
def test_reading_back_decodes_and_finds_a_voxel_that_differs(tmp_path: Path, compress: Compression) -> None:
    build_series(tmp_path / "thick", phantom_hu(2))
    source = read_series(tmp_path / "thick")
    thin = split(source, 2)
    files = write(tmp_path / "out", thin, source, compress)
    changed = thin.hu.copy()
    changed[3, 2, 5] -= 1
    with pytest.raises(LamellaError, match="those of slice 3"):
        verify_written(tmp_path / "out", Volume(changed, thin.geometry))
    files[0].write_bytes(files[0].read_bytes()[:-120])
    with pytest.raises(LamellaError, match=r"cannot be read back"):
        verify_written(tmp_path / "out", thin)


@both
def test_commands_and_python_write_compressed(
    thick_study: Path,
    thin_command: list[str],
    tmp_path: Path,
    compress: Compression,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain, packed, thick = (tmp_path / name for name in ("plain", "packed", "thick"))
    assert main([*thin_command, str(plain)]) == 0
    assert main([*thin_command, str(packed), "--compress", compress]) == 0
    to_10_mm = ["degrade", str(thick_study), str(thick), "--thickness-mm", "10", "--spacing-mm", "10", "--quiet"]
    assert main([*to_10_mm, "--compress", compress]) == 0
    for folder in (packed, thick):
        assert pydicom.dcmread(folder / "IM_00001.dcm").file_meta.TransferSyntaxUID == SYNTAX[compress]
    size = {folder: sum(path.stat().st_size for path in folder.iterdir()) for folder in (plain, packed)}
    assert size[packed] < 0.8 * size[plain]
    one, other = lamella.read(plain), lamella.read(packed)
    assert np.array_equal(one.hu, other.hu)
    assert one.header.series_uid == other.header.series_uid, "lossless transcoding keeps the UID"
    assert pydicom.dcmread(plain / "IM_00001.dcm").file_meta.TransferSyntaxUID == uid.ExplicitVRLittleEndian
    assert main([*thin_command, str(tmp_path / "x.nii.gz"), "--compress", compress]) == 2
    assert "--compress is for DICOM results" in capsys.readouterr().err
    result = lamella.thin(lamella.read(thick_study), model=thin_command[2])
    lamella.write(result, tmp_path / "python", compress=compress)
    assert np.array_equal(lamella.read(tmp_path / "python").hu, other.hu)
    with pytest.raises(UsageError, match="'rle'"):
        lamella.write(result, tmp_path / "no", compress="rle")  # type: ignore[arg-type]


def test_the_words_are_those_of_the_encoder() -> None:
    assert get_args(outputs.Compression) == get_args(Compression) == tuple(SYNTAX)
