"""Names and texts of the source arrive byte for byte, whatever their character set says, or does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydicom import uid
from tests.derived_series import DERIVATION, changed, split
from tests.dicom_builder import base_dataset, set_pixels, write

from lamella.dicom.elements import cut_coded
from lamella.dicom.read import list_series, read_series
from lamella.dicom.write import check_writable, write_series

# SPEC C5: PS3.3 C.12.1.1.2 table C.12-2 to C.12-5, with a name of each from PS3.5 annexes H to K
SINGLE = {
    None: b"Mustermann^Erika",
    "ISO_IR 6": b"Mustermann^Erika",
    "ISO_IR 100": "Buc^Jérôme".encode("latin-1"),
    "ISO_IR 101": "Wałęsa^Lech".encode("iso8859-2"),
    "ISO_IR 109": "Ĉiela^Ĝoja".encode("iso8859-3"),
    "ISO_IR 110": "Bērziņš^Jānis".encode("iso8859-4"),
    "ISO_IR 144": "Иванов".encode("iso8859-5"),
    "ISO_IR 127": "قباني^لنزار".encode("iso8859-6"),
    "ISO_IR 126": "Διονυσιος".encode("iso8859-7"),
    "ISO_IR 138": "שרון^דבורה".encode("iso8859-8"),
    "ISO_IR 148": "Çavuşoğlu".encode("iso8859-9"),
    "ISO_IR 203": "Œuvre^Žan".encode("iso8859-15"),
    "ISO_IR 13": b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3",
    "ISO_IR 166": "นามสกุล".encode("tis-620"),
    "ISO_IR 192": "Wang^XiaoDong=王^小東=".encode(),
    "GB18030": "Wang^XiaoDong=王^小东=".encode("gb18030"),
    "GBK": "Wang^XiaoDong=王^小东=".encode("gbk"),
}
SEVERAL = {
    "\\ISO 2022 IR 87": b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
    "ISO 2022 IR 13\\ISO 2022 IR 87": b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
    "\\ISO 2022 IR 159": b"A^\x1b$(D\x30\x21\x1b(B",
    "\\ISO 2022 IR 149": b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
    "\\ISO 2022 IR 58": b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
    "ISO 2022 IR 6\\ISO 2022 IR 100\\ISO 2022 IR 144": b"A\x1b-L\xbb\xee^\x1b-A\xe9",
    "ISO 2022 IR 100": "Buc^Jérôme".encode("latin-1"),
    "ISO 2022 IR 166": "นามสกุล".encode("tis-620"),
}
UNTRUE = {
    "ISO_IR 192 ": b"",
    "ISO-IR 100": "Müller^Jürgen".encode("latin-1"),
    "ISO IR 192": "Müller^Jürgen".encode(),
    "iso_ir 100": "Müller".encode("latin-1"),
    "utf-8": "Müller^Jürgen".encode(),
    "ISO_IR 999": "Müller".encode("latin-1"),
    "": "Müller".encode(),
    "ISO_IR 6": "Müller".encode(),
    "ISO_IR 100\\ISO_IR 192": "Müller=山田".encode(),
    "\\ISO 2022 IR 192": "山田".encode(),
    "ISO_IR 144": "山田^太郎".encode("shift-jis"),
}
TEXTS = ("PatientName", "PatientID", "ReferringPhysicianName", "StudyDescription", "InstitutionName", "PatientComments")


def source(folder: Path, raw: bytes, character_set: str | None, slices: int = 2) -> None:
    """A series whose texts hold these bytes, put into the finished files: pydicom would encode them anew."""
    folder.mkdir(exist_ok=True)
    marks = {keyword: f"MARK{k:02d}".ljust(len(raw) + len(raw) % 2, "x") for k, keyword in enumerate((*TEXTS, "inner"))}
    root = "1.2.826.0.1.3680043.8.498"
    for k in range(slices):
        dataset = base_dataset((4, 6), f"{root}.1", f"{root}.2", f"{root}.3", 12, False)
        dataset.SOPInstanceUID, dataset.InstanceNumber = f"{root}.1.{k}", k + 1
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 5 * k], [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.SliceThickness = [0.5, 0.5], 5
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
        del dataset.SpecificCharacterSet
        if character_set is not None:
            dataset.add_new("SpecificCharacterSet", "CS", character_set.split("\\"))
        inner = pydicom.Dataset()
        inner.PatientID = marks["inner"]
        dataset.OtherPatientIDsSequence = [inner]
        with pydicom.config.disable_value_validation():
            for keyword in TEXTS:
                setattr(dataset, keyword, marks[keyword])
            set_pixels(dataset, [np.full((4, 6), 500 * k, np.uint16)], uid.ExplicitVRLittleEndian, 12)
            write(dataset, folder / f"{k}.dcm", uid.ExplicitVRLittleEndian)
        data = (folder / f"{k}.dcm").read_bytes()
        for mark in marks.values():
            data = data.replace(mark.encode(), raw + b" " * (len(raw) % 2))
        (folder / f"{k}.dcm").write_bytes(data)


def values(path: Path) -> dict[str, bytes]:
    """The bytes of the texts, by pydicom's undecoded elements."""
    dataset = pydicom.dcmread(path)
    (inner,) = dataset.OtherPatientIDsSequence
    found = {keyword: dataset.get_item(keyword).value for keyword in TEXTS if keyword in dataset}
    return {**found, "inner": inner.get_item("PatientID").value}


def round_trip(folder: Path, raw: bytes, character_set: str | None) -> None:
    source(folder / "thick", raw, character_set)
    volume = read_series(folder / "thick")
    thin = split(volume, 2)
    check_writable(volume, thin.geometry, DERIVATION)
    (folder / "thin").mkdir()
    for path in write_series(folder / "thin", thin, volume, DERIVATION):
        assert values(path) == values(folder / "thick" / "0.dcm")
        stated, expected = (
            pydicom.dcmread(one).get("SpecificCharacterSet") or None for one in (path, folder / "thick" / "0.dcm")
        )
        assert stated == expected
        assert b"AI thin 1mm mean RESEARCH" in path.read_bytes()  # what Lamella adds is ASCII


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("character_set", "raw"), [*SINGLE.items(), *SEVERAL.items(), *((k, v or b"Muster") for k, v in UNTRUE.items())]
)
def test_texts_arrive_byte_for_byte(tmp_path, character_set, raw):
    round_trip(tmp_path, raw, character_set)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    raw=st.binary(min_size=12, max_size=64).filter(lambda raw: raw.strip(b"\0 ")),
    character_set=st.sampled_from([*SINGLE, *SEVERAL, *UNTRUE]),
)
@example(raw=b"\xff" * 12 + b"\\\x1b$B", character_set="ISO_IR 192")
def test_any_bytes_under_any_character_set_arrive(tmp_path_factory, raw, character_set):
    round_trip(tmp_path_factory.mktemp("bytes"), raw, character_set)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_name_in_logs_or_listings(tmp_path, caplog, capsys):
    source(tmp_path / "thick", b"Geheim\xff\xfe^\x1b$BName", "ISO_IR 192")
    volume = read_series(tmp_path / "thick")
    check_writable(volume, volume.geometry, DERIVATION)
    heard = caplog.text + "".join(capsys.readouterr()) + str(volume.header.notes) + str(list_series(tmp_path))
    assert "Geheim" not in heard


@pytest.mark.parametrize(
    ("raw", "utf8", "expected"),
    [
        ("Thorax è à".encode(), True, "Thorax è à".encode()),
        (("wörter " * 20).encode(), True, ("wörter " * 4).strip().encode()),
        (("头部平扫 " * 20).encode("gbk"), False, ("头部平扫 " * 4).strip().encode("gbk")),
        ("ü".encode() * 60, True, b""),
        (b"Kopf \x1b$B;3ED\x1b(B", False, b"Kopf \x1b$B;3ED\x1b(B"),
        (b"Kopf \x1b$B;3ED", False, b"Kopf"),  # nothing brings ASCII back: a label behind it would be Japanese
        (b"Kopf \x1b$B" + b";3ED" * 20 + b"\x1b(B", False, b"Kopf"),
        (b"\x1b$)C\xfb\xf3 \xd1\xce", False, b"\x1b$)C\xfb\xf3 \xd1\xce"),
    ],
)
def test_descriptions_are_cut_between_characters(raw, utf8, expected):
    assert cut_coded(raw, 38, utf8=utf8) == expected


@pytest.mark.parametrize(
    ("character_set", "encoding"), [("ISO_IR 100", "latin-1"), ("ISO_IR 192", "utf-8"), ("GBK", "gbk")]
)
def test_the_series_description_keeps_the_sources_bytes_before_the_label(tmp_path, character_set, encoding):
    text = "头部" if encoding == "gbk" else "Schädel übersicht"
    source(tmp_path / "thick", b"x" * 12, character_set)
    for path in (tmp_path / "thick").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.SeriesDescription = text
        dataset.save_as(path)
    volume = read_series(tmp_path / "thick")
    (tmp_path / "thin").mkdir()
    (path, *_) = write_series(tmp_path / "thin", split(volume, 2), volume, changed(series_label="AI"))
    assert pydicom.dcmread(path).get_item("SeriesDescription").value.strip() == (text + " AI").encode(encoding)
    assert pydicom.dcmread(path).SeriesDescription == text + " AI"


def test_texts_of_another_character_set_than_the_first_slices_stay_behind(tmp_path):
    """ContrastBolusAgent comes from the nearest slice: under the first slice's character set it would be misread."""
    source(tmp_path / "thick", b"x" * 12, "ISO_IR 100")
    for k, (stated, text) in enumerate((("ISO_IR 100", "Öl"), ("ISO_IR 192", "Öl"))):
        dataset = pydicom.dcmread(tmp_path / "thick" / f"{k}.dcm")
        dataset.SpecificCharacterSet, dataset.ContrastBolusAgent, dataset.FilterType = stated, text, "plain"
        dataset.save_as(tmp_path / "thick" / f"{k}.dcm")
    volume = read_series(tmp_path / "thick")
    (tmp_path / "thin").mkdir()
    headers = [pydicom.dcmread(path) for path in write_series(tmp_path / "thin", split(volume, 2), volume, DERIVATION)]
    assert [one.get("ContrastBolusAgent") for one in headers] == ["Öl", "Öl", None, None]
    assert {one.FilterType for one in headers} == {"plain"}
