"""C-ECHO and C-STORE: an instance is on the disk, whole and under its final name, before Success is answered.

Names of files are hashes of UIDs. Data sets are kept as they came, byte for byte, behind file meta information of ours.
"""

from __future__ import annotations

import filecmp
import hashlib
import logging
import os
import secrets
import shutil
import threading
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, cast

from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode_file_meta
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from lamella.dicom.decode import SYNTAXES
from lamella.dicom.kind import CT_CLASSES
from lamella.node.closing import OpenStudies
from lamella.node.identify import Identity, Unreadable, identify, split_file
from lamella.node.journal import Journal, hashed
from lamella.node.scp import LimitedHandler, LimitedServer, limited, tls_context
from lamella.node.settings import NodeSettings
from lamella.node.states import FINAL, States

SUCCESS, DUPLICATE = 0x0000, 0x0111
"""PS3.7 C.1 and C.5.6 (duplicate SOP instance)."""
NO_RESOURCES, NO_MATCH, CANNOT_UNDERSTAND = 0xA700, 0xA900, 0xC000
"""PS3.4 B.2.3: out of resources; data set does not match SOP class; cannot understand."""

LOSSLESS = [syntax for syntax, how in SYNTAXES.items() if how.loss == "none"]
"""Transfer syntaxes that are accepted: those that the reader has and that lose nothing."""

_IMPLEMENTATION = UID("2.25.148262139917043250953722418023366172561")
_GIB = 1 << 30


@dataclass(frozen=True)
class Taken:
    """What became of an instance.

    Attributes:
        status: of C-STORE.
        reason: why it was not kept, or that it was there already.
        key: of its study.
    """

    status: int
    reason: str | None = None
    key: str | None = None


class Receiver:
    """The SCP of a node.

    Args:
        settings: of the node.
        states: where instances go.
        studies: told about every instance.
        journal: told about every answer.
    """

    def __init__(self, settings: NodeSettings, states: States, studies: OpenStudies, journal: Journal) -> None:
        self._settings, self._states, self._studies, self._journal = settings, states, studies, journal
        self.answers: dict[int, int] = {}
        self._counting = threading.Lock()

    def start(self) -> LimitedServer:
        """Listen.

        Raises:
            OSError: the address is taken, or a certificate cannot be read.
        """
        dicom, limits = self._settings.dicom, self._settings.limits
        entity = AE(dicom.aet)
        entity.maximum_associations, entity.maximum_pdu_size = limits.associations, limits.pdu_kb * 1024
        entity.require_called_aet, entity.require_calling_aet = True, list(dicom.calling)
        entity.network_timeout = entity.dimse_timeout = limits.idle_s
        entity.add_supported_context(Verification)
        for kind in sorted(CT_CLASSES):
            entity.add_supported_context(kind, LOSSLESS)
        handlers: list[Any] = [
            *limited(limits),
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_ESTABLISHED, self._log, ["association opened"]),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_RELEASED, self._log, ["association released"]),
            (evt.EVT_ABORTED, self._log, ["association aborted"]),
            (evt.EVT_C_ECHO, lambda event: SUCCESS),
            (evt.EVT_C_STORE, self._store),
        ]
        context = None if dicom.tls is None else tls_context(dicom.tls, server=True)
        server = entity.make_server(
            (dicom.host, dicom.port),
            server_class=LimitedServer,
            request_handler=LimitedHandler,
            ssl_context=context,
            evt_handlers=handlers,
            limits=limits,
            on_error=lambda address: self._journal.note("connection failed", address=address),
        )
        threading.Thread(target=server.serve_forever, name="scp", daemon=True).start()
        return cast(LimitedServer, server)

    def _requested(self, event: evt.Event) -> None:
        """Answer to any of our titles: pynetdicom compares with one."""
        asked = event.assoc.requestor.primitive
        called = None if asked is None else asked.called_ae_title
        if called is not None and called in self._settings.dicom.called:
            event.assoc.acceptor.ae_title = called

    def _log(self, event: evt.Event, what: str, called: str | None = None) -> None:
        peer, address = event.assoc.requestor.ae_title, event.assoc.requestor.address
        self._journal.note(what, peer=str(peer).strip(), address=address, called=called)

    def _rejected(self, event: evt.Event) -> None:
        """Say whom it called, since a wrong title is the most frequent reason."""
        asked = event.assoc.requestor.primitive
        self._log(event, "association rejected", None if asked is None else str(asked.called_ae_title).strip())

    def _store(self, event: evt.Event) -> int:
        """Answer one C-STORE; what is unexpected is out of resources, too, so that the sender keeps the instance."""
        request, syntax = cast(C_STORE, event.request), event.context.transfer_syntax
        data = (request.DataSet or BytesIO()).getbuffer()
        named = str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID)
        taken = self._take(data, syntax, *named, peer=event.assoc.requestor.ae_title.strip())
        with self._counting:
            self.answers[taken.status] = self.answers.get(taken.status, 0) + 1
        return taken.status

    def take_file(self, content: bytes) -> Taken:
        """Keep an instance that came as a file, under the rules of C-STORE."""
        try:
            meta, data = split_file(content)
        except Unreadable as error:
            return Taken(CANNOT_UNDERSTAND, str(error))
        if len(content) > self._settings.limits.instance_mb << 20:
            return Taken(NO_RESOURCES, "it is larger than limits.instance_mb")
        sop_class, syntax = str(meta.get("MediaStorageSOPClassUID")), UID(str(meta.get("TransferSyntaxUID")))
        if sop_class not in CT_CLASSES:
            return Taken(NO_MATCH, "it is no CT image")
        if syntax not in LOSSLESS:
            return Taken(NO_MATCH, "its pixels are compressed with loss, or in a way that cannot be read")
        return self._take(data, syntax, sop_class, str(meta.get("MediaStorageSOPInstanceUID")), peer="web page")

    def _take(self, data: memoryview, syntax: UID, sop_class: str, instance: str, peer: str) -> Taken:
        """Keep an instance whose data set must be what it is announced as; the journal hears of it."""
        taken, sha256 = Taken(CANNOT_UNDERSTAND), hashlib.sha256(data).hexdigest()
        try:
            identity = identify(data, syntax)
            # Results that come back stay apart, so that they never begin a new round of the study that they were made of.
            key = hashed(identity.study) + "s" * identity.synthetic
            if identity.sop_class != sop_class:
                taken = Taken(NO_MATCH, "SOPClassUID is not that of the request", key)
            elif identity.instance != instance:
                taken = Taken(CANNOT_UNDERSTAND, "SOPInstanceUID is not that of the request", key)
            else:
                taken = Taken(*self._keep(identity, key, syntax, data), key)
        except Unreadable as error:
            taken = Taken(CANNOT_UNDERSTAND, str(error))
        except OSError as error:
            taken = Taken(NO_RESOURCES, os.strerror(error.errno or 0))
        self._journal.note(
            "stored" if taken.status == SUCCESS else "not stored",
            level=logging.DEBUG if taken.status == SUCCESS else logging.WARNING,
            uid=instance,
            peer=peer,
            study=taken.key,
            status=f"{taken.status:04X}",
            reason=taken.reason,
            sha256=sha256,
        )
        return taken

    def _keep(self, identity: Identity, key: str, syntax: UID, data: memoryview) -> tuple[int, str | None]:
        """Put an instance into the folder of its study.

        Raises:
            OSError: the disk is full, or broken.
        """
        name = hashed(identity.instance) + ".dcm"
        part = self._states.temporary / secrets.token_hex(16)
        try:
            if shutil.disk_usage(self._states.root).free < self._settings.limits.disk_free_gb * _GIB + len(data):
                return NO_RESOURCES, "the disk is full up to what is kept free"
            _write(part, identity, syntax, data)
            with self._states.guard:
                twin, place = self._twin(key, name), self._states.incoming(key) / name
                if twin is not None and not filecmp.cmp(part, twin, shallow=False):
                    return DUPLICATE, "another instance has the same SOPInstanceUID"
                if twin is None:
                    if (full := self._studies.full(key, len(data))) is not None:
                        return NO_RESOURCES, full
                    self._states.begin(key)
                    os.rename(part, place)
                    self._studies.came(key, len(data))
                folder = os.open((twin or place).parent, os.O_RDONLY)  # the study may close, and its folder move, below
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            return SUCCESS, None if twin is None else "duplicate"
        finally:
            part.unlink(missing_ok=True)

    def _twin(self, key: str, name: str) -> Path | None:
        """The file of this name that the study has already. A refused or failed study may be sent again, to try again."""
        coming, latest = self._states.incoming(key) / name, self._states.latest(key)
        if coming.exists():
            return coming
        if latest is None or latest.folder.parent.name in set(FINAL) - {"sent"}:
            return None
        return latest.source / name if (latest.source / name).exists() else None


def _write(path: Path, identity: Identity, syntax: UID, data: memoryview) -> None:
    """PS3.10 7.1: preamble, file meta information, and the data set as it came. On the disk when this returns."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(identity.sop_class), UID(identity.instance)
    meta.TransferSyntaxUID, meta.ImplementationClassUID = syntax, _IMPLEMENTATION
    with path.open("wb") as file:
        file.write(b"\0" * 128 + b"DICM" + encode_file_meta(meta))
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
