"""A node behind its pages, without anything that listens; what is sent to it, and studies that it has."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from lamella.node.closing import OpenStudies
from lamella.node.http import build_app
from lamella.node.journal import Journal
from lamella.node.pages import Pages
from lamella.node.receive import Receiver
from lamella.node.settings import DicomSettings, HttpSettings, Limits, NodeSettings, Peer
from lamella.node.states import SENT, Round, States, write_json
from lamella.node.upload import Uploads
from lamella.node.worker import Progress

OWN = "http://127.0.0.1:8642"
SECRET = "0123456789abcdef"
KEY = "0" * 32


class Node:
    """All of a node but what listens, closes, thins and sends by itself."""

    def __init__(self, state: Path, **limits: Any) -> None:
        peers = (Peer("pacs", aet="PACS", host="127.0.0.1", port=104), Peer("archive", stow="http://127.0.0.1:1/dicom"))
        sizes = Limits(**{"disk_free_gb": 0.01, **limits})
        self.settings = NodeSettings(state, DicomSettings("LAMELLA", 11112), peers=peers, limits=sizes)
        self.states, self.journal = States(state), Journal(state)
        self.progress: Progress | None = None
        studies = OpenStudies(self.settings, self.states, self.journal)
        receiver = Receiver(self.settings, self.states, studies, self.journal)
        uploads = Uploads(self.settings, self.states, studies, receiver)
        self.pages = Pages(self.settings, self.states, self.journal, uploads, lambda: self.progress, lambda: "")
        self.http = self.client(HttpSettings(8642))

    def client(self, http: HttpSettings, base: str = OWN) -> TestClient:
        app = build_app(self.settings.state, http, pages=self.pages.routes())
        return TestClient(app, base_url=base, headers={"Origin": base})

    def put(self, content: bytes) -> list[dict[str, Any]]:
        """The lines of the answer."""
        answer = self.http.put("/files", content=content)
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]

    def post(self, path: str) -> tuple[int, str]:
        """(status, why not)."""
        answer = self.http.post(path)
        return answer.status_code, answer.json().get("error", "")

    def shown(self) -> list[dict[str, Any]]:
        """The studies of the page."""
        return self.http.get("/studies").json()["studies"]  # type: ignore[no-any-return]


def zipped(*files: Path, more: Sequence[tuple[str, bytes]] = ()) -> bytes:
    """A ZIP whose names a patient stands in."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for file in files:
            archive.write(file, f"Mustermann/{file.name}")
        for name, content in more:
            archive.writestr(name, content)
    return held.getvalue()


def finished(node: Node, state: Any, *, result: bool = False) -> Round:
    """A round in a state, made by hand."""
    folder = node.states.root / "working" / f"{KEY}-0001"
    (folder / "source").mkdir(parents=True)
    write_json(folder / "round.json", {"instances": 3, "attempts": 2, "closed": 1.0})
    if result:
        series = folder / "result" / "case" / "series"
        series.mkdir(parents=True)
        (series / "IM_00001.dcm").write_bytes(b"first")
        (series / "IM_00002.dcm").write_bytes(b"second")
        write_json(series.parent / "record.json", {})
        write_json(series.parent / "report.json", {"output": {"slices": 2, "thickness_mm": 1.0, "spacing_mm": 1.0}})
        write_json(folder / SENT, {"pacs": {"tries": 9, "next": 9e12, "sent": []}})
    return node.states.finish(Round(folder), state, "Series 1.2.826.0.1.3680043.8.498.1 is strange. Mend it.")
