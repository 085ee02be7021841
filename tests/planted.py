"""A study that holds a value of its own in every element that can tell of a patient, for tests of privacy.

Every planted value is unique, so that one that is found somewhere says where it came from.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from pathlib import Path

import nibabel as nib
import pydicom
from pydicom import config
from pydicom.datadict import DicomDictionary, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from lamella.dicom import tags as policy

FOLDER, FILE = "QZ90001^Folder", "QZ90002^File"
"""In the names of folders and files."""

READ = {
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "Modality",
    "ImageType", "PhotometricInterpretation", "RescaleType", "SpecificCharacterSet", "PatientPosition",
    "BurnedInAnnotation", "AcquisitionUID", "ConcatenationUID", "VolumetricProperties", "PixelPresentation",
    "VolumeBasedCalculationTechnique", "AcquisitionType", "LossyImageCompression", "LossyImageCompressionMethod",
    "SyntheticData", "PixelDataProviderURL", "DerivationDescription", "TimezoneOffsetFromUTC",
    "LongitudinalTemporalInformationModified",
}  # fmt: skip
"""Elements that decide how a series is read: another value would be another series, or none."""

_NAMED = {*policy.IDENTITY, *policy.FROM_FIRST, *policy.FROM_NEAREST, *policy.RECOMPUTED, *policy.DROPPED}
_TEXT = {"LO", "SH", "PN", "LT", "ST", "UT", "UC", "UR", "AE", "CS", "DA", "TM", "DT", "UI"}
_MARK = re.compile(rb"QZ\d{5}|18\d\d[01]\d[0-3]\d|0[0-9]{5}\.9\d{5}|1\.2\.999\.\d+")


class Planted:
    """Planted values and the element that each stands in."""

    def __init__(self) -> None:
        self.places: dict[bytes, str] = {FOLDER[:7].encode(): "folder name", FILE[:7].encode(): "file name"}

    def value(self, vr: str, place: str) -> str:
        """A valid value that stands nowhere else."""
        n = len(self.places)
        marks = {
            "DA": f"{1800 + n // 336}{1 + n % 336 // 28:02d}{1 + n % 28:02d}",
            "TM": f"0{n // 3600 % 10}{n // 60 % 60:02d}{n % 60:02d}.9{n:05d}",
            "UI": f"1.2.999.{n}",
        }
        marks["DT"] = marks["DA"]
        mark = marks.get(vr, f"QZ{n:05d}")
        self.places[mark.encode()] = place
        return mark if vr in {"CS", "AE", "UR", *marks} else f"{mark}^M\u00fcller"

    def template(self, whole: bool) -> Dataset:
        """Planted values in text elements, in an item of sequences, and in private elements.

        `whole`: in every element of the dictionary, not only in those that results copy or leave out by name.
        """
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        item = Dataset()
        for keyword in ("PatientName", "CodeMeaning", "TextValue", "PersonName", "InstitutionName", "Date"):
            item.add(self.element(keyword))
        self._private(item, "item")
        for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
            if not keyword or keyword in READ or tag >> 16 <= 4 or not (whole or keyword in _NAMED):
                continue
            if vr in _TEXT:
                dataset.add(self.element(keyword))
            elif vr == "SQ" and not keyword.startswith(("Shared", "PerFrame")):
                dataset.add_new(keyword, "SQ", Sequence([item]))
        self._private(dataset, "top")
        dataset.file_meta.add(self.element("SourceApplicationEntityTitle"))
        dataset.file_meta.PrivateInformationCreatorUID = "1.2.3"
        dataset.file_meta.PrivateInformation = self.value("LO", "PrivateInformation").encode()
        dataset.preamble = self.value("LO", "preamble").encode().ljust(128, b"\0")
        return dataset

    def element(self, keyword: str) -> DataElement:
        vr = dictionary_VR(keyword)
        return DataElement(keyword, vr, self.value(vr, keyword), validation_mode=config.IGNORE)

    def _private(self, dataset: Dataset, where: str) -> None:
        for group, creator in ((0x0009, "QZ MAKER"), (0x7053, "Philips PET Private Group")):
            block = dataset.private_block(group, creator, create=True)
            for offset, vr in enumerate(("LO", "PN", "UN", "OB", "UT", "DA"), start=1):
                value = self.value("DA" if vr == "DA" else "LO", f"private {where} {vr}")
                block.add_new(offset, vr, value.encode() if vr in ("UN", "OB") else value)

    def study(self, source: Path, folder: Path, *, whole: bool = False) -> Path:
        """A copy of a series with planted elements, folders and files."""
        place = folder / FOLDER
        place.mkdir(parents=True)
        template = self.template(whole)
        for number, file in enumerate(sorted(source.iterdir())):
            dataset = pydicom.dcmread(file)
            dataset.update(template)
            dataset.file_meta.update(template.file_meta)
            dataset.preamble = template.preamble
            dataset.save_as(place / f"{FILE}-{number:02d}.dcm")
        return folder

    def nifti(self, file: Path) -> None:
        """Plant in the header, an extension and the sidecar of a NIfTI file."""
        image = nib.load(file)
        for field in ("descrip", "aux_file", "intent_name", "db_name"):
            image.header[field] = self.value("CS", f"nifti {field}").encode()
        image.header.extensions.append(nib.nifti1.Nifti1Extension(6, self.value("LO", "extension").encode()))
        nib.save(image, file)
        sidecar = file.with_name(file.name.removesuffix(".nii.gz") + ".json")
        facts = json.loads(sidecar.read_text())
        facts |= {k: self.value("LO", f"sidecar {k}") for k in ("PatientName", "PatientID", "SeriesDescription")}
        sidecar.write_text(json.dumps(facts))

    def found(self, data: bytes) -> set[str]:
        """The places whose values stand in these bytes."""
        return {self.places[mark] for mark in _MARK.findall(data) if mark in self.places}

    def left_by(self, folder: Path) -> dict[str, set[str]]:
        """What stands in the names and in the content of everything below a folder, by file."""
        files = {str(path.relative_to(folder)): path for path in folder.rglob("*")}
        found = {
            name: self.found(name.encode()) | (self.found(content(path)) if path.is_file() else set())
            for name, path in files.items()
        }
        return {name: places for name, places in found.items() if places}


def content(path: Path) -> bytes:
    """What a file holds, its compressed parts inflated, without the pixels of DICOM and the voxels of a page."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".dcm":
        dataset = pydicom.dcmread(path)
        del dataset.PixelData
        return str(dataset.file_meta).encode() + str(dataset).encode() + data[:132]
    if path.suffix == ".png":
        parts = [data[m.start() : m.start() + 65536] for m in re.finditer(rb"zTXt|iTXt|iCCP", data)]
        return data + b"".join(_inflated(part) for part in parts)
    return re.sub(rb"[A-Za-z0-9+/=]{200,}", b"", data)


def _inflated(part: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(part[part.index(b"\x78") :])
    except (zlib.error, ValueError):
        return b""
