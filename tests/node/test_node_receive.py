"""What the node answers, and what it keeps: real associations, by dcmtk where it can, by hand where it cannot."""

from __future__ import annotations

import re
import socket
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom import uid
from pynetdicom import AE, _config
from pynetdicom.sop_class import CTImageStorage
from tests.dicom_builder import body_hu, build_enhanced, build_series, encoder
from tests.running_node import free_port, needed, study_at, wait_for

from lamella.node.closing import OpenStudies
from lamella.node.journal import Journal
from lamella.node.receive import LOSSLESS, Receiver
from lamella.node.scp import LimitedServer, quieten
from lamella.node.settings import DicomSettings, Limits, NodeSettings
from lamella.node.states import States

LIMITS = Limits(disk_free_gb=0.01)


class Scp:
    """The receiving part of a node, in this process."""

    def __init__(self, folder: Path, limits: Limits = LIMITS, **dicom: object) -> None:
        quieten()
        where = DicomSettings(aet="LAMELLA", port=free_port(), **dicom)  # type: ignore[arg-type]
        self.settings = NodeSettings(state=folder / "state", dicom=where, limits=limits)
        self.states = States(folder / "state")
        self.journal = Journal(folder / "state")
        self.studies = OpenStudies(self.settings, self.states, self.journal)
        self.server: LimitedServer = Receiver(self.settings, self.states, self.studies, self.journal).start()

    @property
    def files(self) -> list[Path]:
        return sorted((self.states.root / "incoming").glob("*/source/*"))

    def send(
        self, *files: Path, title: str = "LAMELLA", calling: str = "TEST", syntax: str = uid.ExplicitVRLittleEndian
    ) -> list[int | None]:
        """The status of each file, sent as it is; None where there was no answer."""
        _config.STORE_SEND_CHUNKED_DATASET = True
        entity = AE(calling)
        entity.add_requested_context(CTImageStorage, syntax)
        association = entity.associate("127.0.0.1", self.settings.dicom.port, ae_title=title)
        found = [association.send_c_store(one).get("Status") if association.is_established else None for one in files]
        if association.is_established:
            association.release()
        return found

    def close(self) -> None:
        self.server.stop()
        self.states.close()


@pytest.fixture
def scp(tmp_path: Path) -> Iterator[Scp]:
    one = Scp(tmp_path)
    yield one
    one.close()


@pytest.fixture
def slices(tmp_path: Path) -> list[Path]:
    return sorted(study_at(tmp_path / "in", slices=3).iterdir())


def bent(file: Path, **elements: object) -> Path:
    """The same file with other elements."""
    dataset = pydicom.dcmread(file)
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.save_as(file)
    return file


def data_set_bytes(file: Path) -> bytes:
    """What stands behind preamble and file meta information."""
    content = file.read_bytes()
    return content[144 + struct.unpack("<I", content[140:144])[0] :]


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda one: uid.UID(one).name)
def test_every_lossless_syntax_is_kept_byte_for_byte(scp: Scp, tmp_path: Path, syntax: str) -> None:
    # SPEC C7
    like = uid.JPEG2000Lossless if uid.UID(syntax).is_encapsulated and encoder(syntax, 12) is None else syntax
    build_series(tmp_path / "in", body_hu(2, 32), syntax=like)
    sent = sorted((tmp_path / "in").iterdir())
    if like != syntax:  # the node never decodes, so the frames of another codec do
        for file in sent:
            dataset = pydicom.dcmread(file)
            dataset.file_meta.TransferSyntaxUID = uid.UID(syntax)
            dataset.save_as(file)
    assert scp.send(*sent, syntax=syntax) == [0, 0]
    assert {data_set_bytes(file) for file in scp.files} == {data_set_bytes(file) for file in sent}
    assert all(pydicom.dcmread(file).file_meta.TransferSyntaxUID == syntax for file in scp.files)
    assert all(re.fullmatch(r"[0-9a-f]{32}\.dcm", file.name) for file in scp.files)


def test_lossy_syntaxes_are_not_accepted(scp: Scp) -> None:
    entity = AE("TEST")
    for syntax in (uid.JPEGLSNearLossless, uid.JPEGExtended12Bit, uid.JPEG2000):
        entity.add_requested_context(CTImageStorage, syntax)
    association = entity.associate("127.0.0.1", scp.settings.dicom.port, ae_title="LAMELLA")
    assert not association.accepted_contexts


def test_dcmtk_echoes_and_stores_enhanced_ct(scp: Scp, tmp_path: Path) -> None:
    needed("echoscu", "storescu")
    where = ["-aec", "LAMELLA", "127.0.0.1", str(scp.settings.dicom.port)]
    assert subprocess.run(["echoscu", *where], timeout=30).returncode == 0
    build_enhanced(tmp_path / "one.dcm", body_hu(4, 32))
    subprocess.run(["storescu", *where, str(tmp_path / "one.dcm")], check=True, timeout=30)
    assert [pydicom.dcmread(file).SOPClassUID for file in scp.files] == [uid.EnhancedCTImageStorage]


def test_the_same_instance_again_is_success_and_another_of_its_name_is_refused(scp: Scp, slices: list[Path]) -> None:
    assert scp.send(slices[0], slices[0]) == [0x0000, 0x0000]
    before = scp.files[0].read_bytes()
    assert scp.send(bent(slices[0], PatientID="P2")) == [0x0111]
    assert [file.read_bytes() for file in scp.files] == [before]


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"1.2.840.10008.5.1.4.1.1.2\0", b"1.2.840.10008.5.1.4.1.1.4\0", 0xA900),  # SOPClassUID
        (b"498.1.1.1", b"498.1.1.7", 0xC000),  # SOPInstanceUID
        (b"498.2.1", b"498.2.x", 0xC000),  # StudyInstanceUID
        (b"\x08\x00\x05\x00CS", b"\x08\x00\x05\x00SQ", 0xC000),  # a sequence of nonsense
    ],
    ids=["class", "instance", "study", "nonsense"],
)
def test_a_data_set_that_is_not_what_the_request_says_is_refused(
    scp: Scp, slices: list[Path], old: bytes, new: bytes, status: int
) -> None:
    content = slices[0].read_bytes()
    begin = len(content) - len(data_set_bytes(slices[0]))
    changed = content[begin:].replace(old, new, 1)
    assert changed != content[begin:]
    slices[0].write_bytes(content[:begin] + changed)
    assert scp.send(slices[0]) == [status]
    assert scp.files == []


def test_limits_on_the_study_the_queue_and_the_disk_are_out_of_resources(tmp_path: Path, slices: list[Path]) -> None:
    other = study_at(tmp_path / "other", 2, slices=1) / "0000.dcm"
    for number, (limits, sent, expected) in enumerate(
        [
            (replace(LIMITS, study_instances=2), slices, [0, 0, 0xA700]),
            (replace(LIMITS, study_gb=2.5e-6), slices, [0, 0xA700, 0xA700]),
            (replace(LIMITS, queue=1), [slices[0], other, slices[1]], [0, 0xA700, 0]),
            (replace(LIMITS, disk_free_gb=1e9), slices, [0xA700] * 3),
        ]
    ):
        scp = Scp(tmp_path / str(number), limits)
        assert scp.send(*sent) == expected
        assert len(scp.files) == expected.count(0)
        assert list((scp.states.root / "tmp").iterdir()) == []
        scp.close()


def test_an_instance_or_a_pdu_beyond_its_limit_ends_the_association(tmp_path: Path, slices: list[Path]) -> None:
    scp = Scp(tmp_path / "small", replace(LIMITS, instance_mb=1))
    assert scp.send(bent(slices[0], PixelData=bytes(2 << 20))) == [None]
    with socket.create_connection(("127.0.0.1", scp.settings.dicom.port)) as peer:
        peer.sendall(struct.pack(">BBL", 1, 0, 0xFFFFFFF0) + bytes(1000))  # an association request of 4 GB
        peer.settimeout(20)
        while peer.recv(1000):
            pass
    assert scp.send(slices[1]) == [0]
    scp.close()


def test_a_sender_that_breaks_off_leaves_nothing_half(scp: Scp, slices: list[Path]) -> None:
    entity = AE("TEST")
    entity.add_requested_context(CTImageStorage, uid.ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", scp.settings.dicom.port, ae_title="LAMELLA")
    assert association.send_c_store(slices[0]).Status == 0
    peer = association.dul.socket.socket  # type: ignore[union-attr]
    peer.sendall(struct.pack(">BBLLBB", 4, 0, 10000, 9996, 1, 3) + bytes(50))  # a PDU that begins, and no more
    peer.close()
    wait_for(lambda: not scp.server.active_associations, "the end of the association")
    assert len(scp.files) == 1
    assert list((scp.states.root / "tmp").iterdir()) == []
    assert scp.send(*slices) == [0, 0, 0]


def test_only_listed_titles_connect(tmp_path: Path, slices: list[Path]) -> None:
    scp = Scp(tmp_path / "listed", calling=("CT1",), called=("AI",))
    assert scp.send(slices[0], calling="CT2") == [None]
    assert scp.send(slices[0], calling="CT1", title="OTHER") == [None]
    audit = (scp.states.root / "audit.jsonl").read_text()
    assert '"event": "association rejected", "peer": "CT1", "address": "127.0.0.1", "called": "OTHER"' in audit
    assert scp.send(slices[0], calling="CT1", title="AI") == [0]
    assert scp.send(slices[1], calling="CT1") == [0]
    scp.close()


def test_associations_are_limited(tmp_path: Path) -> None:
    scp = Scp(tmp_path / "few", replace(LIMITS, associations=2))
    entity = AE("TEST")
    entity.add_requested_context(CTImageStorage)
    opened = [entity.associate("127.0.0.1", scp.settings.dicom.port, ae_title="LAMELLA") for _ in range(3)]
    assert [one.is_established for one in opened] == [True, True, False]
    assert opened[2].is_rejected
    for one in opened[:2]:
        one.release()
    scp.close()


def test_nothing_of_a_patient_is_in_the_audit_log(scp: Scp, slices: list[Path]) -> None:
    scp.send(*slices)
    text = (scp.states.root / "audit.jsonl").read_text()
    assert text.count('"event": "stored"') == len(slices)
    for planted in ("Mustermann", "Erika", "P1", "19700101", "498.1.1", "498.2.1"):
        assert planted not in text
