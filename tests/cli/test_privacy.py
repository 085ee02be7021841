"""Nothing of a patient in anything that a run leaves or says, at debug level, too: planted values are looked for everywhere.

At a terminal, messages and notes name the file that is meant by its base name (SECURITY.md); with `--deidentify` by number.
"""

from __future__ import annotations

import logging
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
from tests.planted import FILE, FOLDER, Planted

from lamella.cli import main
from lamella.dicom import tags as policy
from lamella.dicom.deidentify import KEPT

Capture = pytest.CaptureFixture[str]
TOLD = {"file name"}
COPIED = {
    *policy.IDENTITY, *policy.FROM_FIRST, *policy.FROM_NEAREST, "SeriesDescription", "WindowCenterWidthExplanation",
    "CodeMeaning", "TextValue", "PersonName", "Date",
}  # fmt: skip
"""What a DICOM result may hold: its own copied elements, and those of the planted item of copied sequences."""


@pytest.fixture
def run(capfd: Capture) -> Callable[..., tuple[int, bytes]]:
    """`lamella ARGUMENTS --debug` with every log record and warning shown; returns its exit code and all that it said."""

    def ran(*arguments: object) -> tuple[int, bytes]:
        handler, root = logging.StreamHandler(sys.stderr), logging.getLogger()
        root.addHandler(handler)
        level = root.level
        root.setLevel(logging.DEBUG)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                code = main([*map(str, arguments), "--debug"])
        finally:
            root.removeHandler(handler)
            root.setLevel(level)
        said = capfd.readouterr()
        return code, (said.out + said.err).encode()

    return ran


Run = Callable[..., tuple[int, bytes]]


@pytest.fixture
def talkative_pydicom() -> Iterator[None]:
    """pydicom logs every element that it reads."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    yield
    logger.setLevel(level)


@pytest.mark.slow
@pytest.mark.usefixtures("talkative_pydicom")
@pytest.mark.parametrize("extra", [(), ("--deidentify",)], ids=["plain", "deidentified"])
def test_a_result_and_all_beside_it(
    thick_study: Path, tiny_model: Path, tmp_path: Path, run: Run, extra: tuple[str, ...]
) -> None:
    planted, out = Planted(), tmp_path / "out"
    source = planted.study(thick_study, tmp_path / "in", whole=True)
    (source / FOLDER / f"{FILE}.txt").write_text("no DICOM")
    assert len(planted.places) > 1500
    out.mkdir()
    thin = ("thin", source, "--model", tiny_model, *extra)
    beside = ("--report", out / "r.html", "--preview", out / "p.png", "--spread", out / "s.nii.gz")
    said = b""
    for words in (
        (*thin, out / "dicom", "--report", out / "r.json"),
        (*thin, out / "o.nii.gz", *beside),
    ):
        code, text = run(*words)
        assert code == 0, text.decode()
        said += text
    told = set() if extra else TOLD
    assert b"ignored" in said
    assert planted.found(said) == told
    left = planted.left_by(out)
    in_dicom = set().union(*(left.pop(name) for name in list(left) if name.endswith(".dcm")))
    assert set().union(*left.values()) <= told, left
    if extra:
        kept = {"Manufacturer", "ManufacturerModelName", "SoftwareVersions", "FilterType", "ConvolutionKernel"}
        codes = {keyword for keyword in KEPT if pydicom.datadict.dictionary_VR(keyword) == "CS"}
        assert in_dicom <= kept | codes
        uids = {e.value for e in pydicom.dcmread(next((source / FOLDER).glob("*-00.dcm"))) if e.VR == "UI"}
        everything = said + b"".join(f.read_bytes() for f in out.rglob("*") if f.is_file())
        assert [uid for uid in uids if "1.2.840.10008" not in uid and uid.encode() in everything] == []
    else:
        assert {"PatientName", "PatientID", "StudyDescription", "CodeMeaning"} <= in_dicom <= COPIED


def test_inspect_and_degrade(thin_study: Path, thick_study: Path, tmp_path: Path, run: Run) -> None:
    planted = Planted()
    source, thick = planted.study(thin_study, tmp_path / "in"), planted.study(thick_study, tmp_path / "thick")
    said = b""
    for words in (
        ("inspect", thick),
        ("inspect", thick, "--json"),
        ("degrade", source, tmp_path / "out" / "d", "--thickness-mm", 5, "--spacing-mm", 5),
        ("degrade", source, tmp_path / "out" / "n.nii.gz", "--thickness-mm", 5, "--spacing-mm", 5),
    ):
        (tmp_path / "out").mkdir(exist_ok=True)
        code, text = run(*words)
        assert code == 0, text.decode()
        said += text
    assert planted.found(said) == set()
    left = planted.left_by(tmp_path / "out")
    assert all(name.endswith(".dcm") and places <= COPIED for name, places in left.items()), left


def test_a_thick_series_that_is_given_away_holds_nothing_of_the_patient(
    thin_study: Path, tmp_path: Path, run: Run
) -> None:
    # issue 27, item 6
    planted, key = Planted(), tmp_path / "key"
    source = planted.study(thin_study, tmp_path / "in")
    key.write_bytes(bytes(range(32)))
    (tmp_path / "out").mkdir()
    for name in ("d", "n.nii.gz"):
        words = ("degrade", source, tmp_path / "out" / name, "--thickness-mm", 5, "--spacing-mm", 5)
        code, said = run(*words, "--deidentify", "--deidentify-key", key)
        assert (code, planted.found(said)) == (0, set()), said.decode()
    codes = {keyword for keyword in KEPT if pydicom.datadict.dictionary_VR(keyword) == "CS"}
    kept = {"Manufacturer", "ManufacturerModelName", "SoftwareVersions", "FilterType", "ConvolutionKernel"} | codes
    left = planted.left_by(tmp_path / "out")
    assert all(name.endswith(".dcm") and places <= kept for name, places in left.items()), left
    one = pydicom.dcmread(next((tmp_path / "out" / "d").iterdir()))
    assert (one.PatientIdentityRemoved, one.PatientID[:8]) == ("YES", "LAMELLA-")


def test_nifti(thick_study: Path, tiny_model: Path, tmp_path: Path, run: Run) -> None:
    planted, thick, out = Planted(), tmp_path / f"{FILE}.nii.gz", tmp_path / "out"
    out.mkdir()
    assert main(["degrade", str(thick_study), str(thick), "--thickness-mm", "10", "--spacing-mm", "10", "--quiet"]) == 0
    planted.nifti(thick)
    for extra in ((), ("--deidentify",)):
        words = ("thin", thick, out / f"{len(extra)}.nii.gz", "--model", tiny_model, "--slices", 20, *extra)
        code, said = run(*words, "--report", out / f"{len(extra)}-report.json")
        assert (code, planted.found(said)) == (0, set()), said.decode()
    assert planted.left_by(out) == {}
    thick.with_name(f"{FILE}.json").write_text("{")
    code, said = run("thin", thick, out / "no.nii.gz", "--deidentify")
    assert (code, planted.found(said)) == (3, set()), said.decode()


def test_a_key_names_the_same_patient_again_and_no_voxel_changes(
    thin_command: list[str], thick_study: Path, tmp_path: Path, capfd: Capture
) -> None:
    key = tmp_path / "key"
    key.write_bytes(bytes(range(32)))
    plain, *named = (tmp_path / name for name in ("plain", "one", "two", "random"))
    assert main([*thin_command, str(plain)]) == 0
    for out, extra in zip(named, 2 * [["--deidentify-key", str(key)]] + [[]], strict=True):
        assert main([*thin_command, str(out), "--deidentify", *extra]) == 0
    read = {out.name: [pydicom.dcmread(file) for file in sorted(out.iterdir())] for out in (plain, *named)}
    for one, *others in zip(*read.values(), strict=True):
        assert [other.PixelData == one.PixelData for other in others] == [True] * 3
        assert others[0].SOPInstanceUID == others[1].SOPInstanceUID != others[2].SOPInstanceUID
        assert others[0].PatientID == others[1].PatientID != others[2].PatientID
    assert main([*thin_command, str(tmp_path / "no"), "--deidentify-key", str(key)]) == 2
    assert "Found no --deidentify" in capfd.readouterr().err


def one_slice(folder: Path) -> Path:
    return sorted((folder / FOLDER).glob("*.dcm"))[2]


def rewritten(keyword: str, value: str) -> Callable[[Path, Planted], None]:
    """One slice with a text in this element; a name that is planted where it says so."""

    def change(folder: Path, planted: Planted) -> None:
        file = one_slice(folder)
        vr = pydicom.datadict.dictionary_VR(keyword)
        dataset = pydicom.dcmread(file)
        text = planted.value("LO", f"broken {keyword}") if value == "planted" else value
        with pydicom.config.disable_value_validation():
            dataset[keyword] = pydicom.DataElement(keyword, "LO" if vr in ("DS", "IS", "US") else vr, text)
            dataset.save_as(file)

    return change


def cut(part: float) -> Callable[[Path, Planted], None]:
    def change(folder: Path, _: Planted) -> None:
        file = one_slice(folder)
        file.write_bytes(file.read_bytes()[: int(part * file.stat().st_size)])

    return change


def reaching(tag: bytes) -> Callable[[Path, Planted], None]:
    """The length of one element is damaged, so that its value reaches over what follows."""

    def change(folder: Path, _: Planted) -> None:
        file = one_slice(folder)
        data = file.read_bytes()
        at = data.index(tag) + 6
        file.write_bytes(data[:at] + b"\x60\x00" + data[at + 2 :])

    return change


def two_series(folder: Path, _: Planted) -> None:
    for file in sorted((folder / FOLDER).glob("*.dcm")):
        dataset = pydicom.dcmread(file)
        dataset.SeriesInstanceUID = "1.2.7"
        dataset.SOPInstanceUID = f"1.2.7.{dataset.InstanceNumber}"
        dataset.save_as(file.with_name(f"{FILE}-b{file.name[-6:]}"))


BROKEN: dict[str, Callable[[Path, Planted], object]] = {
    "a slice is missing": lambda folder, _: one_slice(folder).unlink(),
    "two series": two_series,
    "cut in the pixels": cut(0.9),
    "cut in the header": cut(0.3),
    **{
        f"a length reaches over what follows {keyword}": reaching(tag)
        for keyword, tag in {
            "RescaleType": b"\x28\0\x54\x10LO", "SeriesInstanceUID": b"\x20\0\x0e\0UI", "Modality": b"\x08\0\x60\0CS",
            "ImageType": b"\x08\0\x08\0CS", "SOPClassUID": b"\x08\0\x16\0UI", "SliceThickness": b"\x18\0\x50\0DS",
            "PatientID": b"\x10\0\x20\0LO", "PhotometricInterpretation": b"\x28\0\x04\0CS",
        }.items()
    },
    "an empty file": lambda folder, _: one_slice(folder).write_bytes(b""),
    "no DICOM": lambda folder, _: [f.write_bytes(b"QZ90003 text") for f in (folder / FOLDER).iterdir()],
    **{
        f"a name in {keyword}": rewritten(keyword, "planted")
        for keyword in (
            "Modality", "RescaleType", "PhotometricInterpretation", "ImagePositionPatient", "PixelSpacing",
            "SliceThickness", "RescaleSlope", "BitsStored", "PatientID", "Rows", "ImageOrientationPatient",
        )
    },
    **{
        f"another {keyword}": rewritten(keyword, value)
        for keyword, value in (
            ("StudyInstanceUID", "1.2.3"), ("SeriesInstanceUID", ""), ("FrameOfReferenceUID", "1.2.4"),
            ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.4"), ("SOPInstanceUID", "1.2.5"),
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_a_refusal(thick_study: Path, tiny_model: Path, tmp_path: Path, run: Run, kind: str) -> None:
    planted = Planted()
    source = planted.study(thick_study, tmp_path / "in")
    BROKEN[kind](source, planted)
    archive = tmp_path / "study.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(source.rglob("*.dcm")):
            file.write(path, path.relative_to(source))
    refused = 0
    thin = ("--model", tiny_model, "--dry-run")
    for words, told in (
        (("inspect", source), TOLD),
        (("thin", source, tmp_path / "x", *thin), TOLD),
        (("thin", archive, tmp_path / "x", *thin, "--deidentify"), set()),
    ):
        code, said = run(*words)
        refused += code == 3
        assert planted.found(said) <= told, said.decode()
    assert refused == 3 or kind == "another SOPInstanceUID"


def test_the_search_finds_what_is_there(thick_study: Path, tmp_path: Path) -> None:
    planted = Planted()
    source = planted.study(thick_study, tmp_path / "in")
    left = planted.left_by(source)
    assert set().union(*left.values()) >= {
        "folder name",
        "file name",
        "PatientName",
        "StudyDate",
        "StudyTime",
        "preamble",
    }
    assert planted.found(b"born " + planted.value("DA", "a date").encode()) == {"a date"}
