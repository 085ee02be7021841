"""Orthanc routes a study in and gets the thin series back, by C-STORE and by STOW-RS."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from tests.running_node import free_port, listens, needed, running_node, study_at, wait_for

pytestmark = pytest.mark.slow

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


class Orthanc:
    """A running Orthanc."""

    def __init__(self, http: int, dicom: int) -> None:
        self.http, self.dicom = http, dicom

    @property
    def web(self) -> str:
        return f"http://127.0.0.1:{self.http}/dicom-web"

    def ask(self, path: str, data: bytes | None = None) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data=data)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())


@contextmanager
def orthanc(folder: Path, node_port: int) -> Iterator[Orthanc]:
    """Orthanc on free ports, which knows the node as "lamella"."""
    needed("Orthanc")
    assert PLUGIN.is_file(), "apt-get install orthanc-dicomweb"
    one = Orthanc(free_port(), free_port())
    folder.mkdir()
    settings = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": one.http,
        "DicomPort": one.dicom,
        "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(PLUGIN)],
        "DicomModalities": {"lamella": ["LAMELLA", "127.0.0.1", node_port]},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(["/usr/sbin/Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log) as process,
    ):
        try:
            wait_for(lambda: listens(one.http) and listens(one.dicom), "Orthanc")
            yield one
        finally:
            process.kill()


@pytest.mark.parametrize("by", ["C-STORE", "STOW-RS"])
def test_orthanc_routes_a_study_in_and_has_the_thin_series_beside_it(tmp_path: Path, tiny_model: Path, by: str) -> None:
    # SPEC C7
    node_port = free_port()
    with orthanc(tmp_path / "orthanc", node_port) as server:
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
