"""Orthanc routes a study in and gets the thin series back, by C-STORE and by STOW-RS."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from tests.running_node import free_port, running_node, study_at
from tests.running_orthanc import running_orthanc

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("by", ["C-STORE", "STOW-RS"])
def test_orthanc_routes_a_study_in_and_has_the_thin_series_beside_it(tmp_path: Path, tiny_model: Path, by: str) -> None:
    # SPEC C7
    node_port = free_port()
    known = {"lamella": ["LAMELLA", "127.0.0.1", node_port]}
    plugin = "libOrthancDicomWeb.so", "orthanc-dicomweb"
    with running_orthanc(tmp_path / "orthanc", *plugin, DicomModalities=known) as server:
        peer = (
            {"stow": server.web} if by == "STOW-RS" else {"aet": "ORTHANC", "host": "127.0.0.1", "port": server.dicom}
        )
        keys = {"dicom": {"port": node_port}, "peers": [{"name": "orthanc", **peer}], "send_to": ["orthanc"]}
        with running_node(tmp_path / "node", tiny_model, **keys) as node:
            for file in sorted(study_at(tmp_path / "in").iterdir()):
                server.ask("/instances", file.read_bytes())
            (study,) = server.ask("/studies")
            assert server.ask("/modalities/lamella/store", study.encode())["FailedInstancesCount"] == 0
            (done,) = node.finished()
            assert done.parent.name == "sent"
            assert (server.ask("/statistics")["CountStudies"], server.ask("/statistics")["CountSeries"]) == (1, 2)
            made = sorted(done.glob("result/*/series/*.dcm"))
            header = pydicom.dcmread(made[0])
            client = DICOMwebClient(server.web)
            found = client.search_for_series(
                header.StudyInstanceUID, search_filters={"SeriesInstanceUID": header.SeriesInstanceUID}
            )
            assert len(found) == 1
            back = client.retrieve_series(header.StudyInstanceUID, header.SeriesInstanceUID)
            assert {one.SOPInstanceUID: one.PixelData for one in back} == {
                one.SOPInstanceUID: one.PixelData for one in map(pydicom.dcmread, made)
            }
            # everything again, what the node made too: nothing new comes of it
            assert server.ask("/modalities/lamella/store", study.encode())["FailedInstancesCount"] == 0
            node.finished(2)
            assert server.ask("/statistics")["CountSeries"] == 2
            assert sum(line["event"] == "sent" for line in node.audit()) == 1
