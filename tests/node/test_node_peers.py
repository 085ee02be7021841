"""Peers that take a result with a warning, in part, or not at all; what people are told of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, evt
from tests.running_node import free_port, study_at

from lamella.node.send_dicom import Unsent, store
from lamella.node.settings import DicomSettings, NodeSettings, Peer, RetrySettings

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"


@contextmanager
def peer(answers: list[int], kind: str = CT, syntax: str = EXPLICIT, called: str = "PEER") -> Iterator[Peer]:
    """Answers each C-STORE with the next status, the last one for ever."""
    entity, port = AE("PEER"), free_port()
    entity.require_called_aet = True
    entity.add_supported_context(kind, syntax)
    handlers: list[Any] = [(evt.EVT_C_STORE, lambda event: answers.pop(0) if len(answers) > 1 else answers[0])]
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    assert server is not None
    yield Peer("peer", aet=called, host="127.0.0.1", port=port)
    server.shutdown()


def send(tmp_path: Path, to: Peer) -> None:
    files = sorted(study_at(tmp_path / "in", slices=3).iterdir())
    settings = NodeSettings(tmp_path, DicomSettings("LAMELLA", 104), retry=RetrySettings(timeout_s=10))
    store(files, to, settings)


@pytest.mark.parametrize("status", [0x0000, 0x0111, 0xB000, 0xB006, 0xB007])
def test_warnings_are_no_refusals(tmp_path: Path, status: int) -> None:
    with peer([0, status]) as to:
        send(tmp_path, to)


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xC000, 0x0122])
def test_one_refusal_is_one_of_all(tmp_path: Path, status: int) -> None:
    with (
        peer([0xB000, status, 0]) as to,
        pytest.raises(Unsent, match=rf"it answered {status:04X} to instance 2 of 3"),
    ):
        send(tmp_path, to)


@pytest.mark.parametrize("context", [(MR, EXPLICIT), (CT, DEFLATED)])
def test_a_peer_that_takes_no_such_images_is_told_from_one_that_is_away(
    tmp_path: Path, context: tuple[str, str]
) -> None:
    with peer([0], *context) as to, pytest.raises(Unsent, match="it takes no CT images in the transfer syntax"):
        send(tmp_path, to)


def test_a_wrong_title_is_said(tmp_path: Path) -> None:
    with peer([0], called="OTHER") as to, pytest.raises(Unsent, match="it rejected the association for good"):
        send(tmp_path, to)
