"""A series by C-STORE over one association."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydicom import dcmread
from pynetdicom import AE, _config

from lamella.node.scp import limited, tls_context
from lamella.node.settings import NodeSettings, Peer

_TAKEN = {0x0000, 0x0111, 0xB000, 0xB006, 0xB007}
"""PS3.4 B.2.3: success and warnings; duplicate SOP instance (PS3.7 C.5.6): the peer has it."""

_NO_CONTEXT = "it takes no CT images in the transfer syntax of the result"
_REJECTED = {1: "for good", 2: "for now"}


class Unsent(Exception):
    """A peer did not take a result. The message says why, in words and codes that hold nothing of a patient."""


def store(files: Sequence[Path], peer: Peer, settings: NodeSettings) -> None:
    """Send files, as they are, in order.

    Raises:
        Unsent: the peer did not answer, or did not take one of them; then none counts as sent.
    """
    _config.STORE_SEND_CHUNKED_DATASET = True  # files are not decoded
    entity = AE(settings.dicom.aet)
    timeout = settings.retry.timeout_s
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = timeout
    tags = ["SOPClassUID"]
    kinds = {
        (head.SOPClassUID, head.file_meta.TransferSyntaxUID) for head in (dcmread(f, specific_tags=tags) for f in files)
    }
    for sop_class, syntax in sorted(kinds):
        entity.add_requested_context(sop_class, syntax)
    tls = (tls_context(settings.dicom.tls, server=False), peer.host) if peer.tls and settings.dicom.tls else None
    association = entity.associate(
        peer.host, peer.port, ae_title=peer.aet, tls_args=tls, evt_handlers=limited(settings.limits)
    )
    if not association.is_established:
        if association.is_rejected:
            result = getattr(association.acceptor.primitive, "result", 0)
            raise Unsent(f"it rejected the association {_REJECTED.get(result, '')}".strip())
        if association.rejected_contexts:
            raise Unsent(_NO_CONTEXT)
        raise Unsent("no association: it is not there, or speaks no TLS as we do")
    try:
        for number, file in enumerate(files, start=1):
            try:
                status = association.send_c_store(file, msg_id=number % 65536).get("Status")
            except ValueError:
                raise Unsent(_NO_CONTEXT) from None
            except RuntimeError:
                status = None
            if status is None:
                raise Unsent(f"the association broke off after {number - 1} of {len(files)} instances")
            if status not in _TAKEN:
                raise Unsent(f"it answered {status:04X} to instance {number} of {len(files)}")
    finally:
        if association.is_established:
            association.release()
