"""Nothing of a patient in anything that a node logs, records, measures or shows, at debug level, too. Issue 27, item 6.

What a node received and what it made hold the patient, of course; names of folders and files do not.
"""

from __future__ import annotations

import json
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_privacy import BROKEN, COPIED
from tests.dicom_builder import body_hu, build_series
from tests.planted import Planted, content
from tests.running_node import ROOT, RunningNode, free_port, needed, node_config, start_node, storescp

pytestmark = pytest.mark.slow

FAULTS = ("a slice is missing", "a name in RescaleType", "a name in SliceThickness", "another StudyInstanceUID")
LOUD = """
import logging
logging.basicConfig(level=logging.DEBUG)
for name in ("pydicom", "pynetdicom", "uvicorn", "lamella"):
    logging.getLogger(name).setLevel(logging.DEBUG)
"""


def planted_study(planted: Planted, folder: Path, number: int) -> Path:
    root = "1.2.826.0.1.3680043.8.498"
    build_series(folder / "plain", body_hu(5), series_uid=f"{root}.1.{number}", study_uid=f"{root}.2.{number}")
    return planted.study(folder / "plain", folder / "planted")


def put(node: RunningNode, path: str, data: bytes, method: str) -> str:
    own = f"http://127.0.0.1:{node.http}"
    request = urllib.request.Request(f"{own}{path}", data=data, method=method, headers={"Origin": own})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(answer.read().decode())


def is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def test_a_node_tells_nothing(tmp_path: Path, tiny_model: Path) -> None:
    needed("storescu", "storescp")
    planted, port = Planted(), free_port()
    (tmp_path / "loud").mkdir()
    (tmp_path / "loud" / "sitecustomize.py").write_text(LOUD)
    keys: dict[str, Any] = {
        "peers": [{"name": "archive", "aet": "ARCHIVE", "host": "127.0.0.1", "port": port}],
        "send_to": ["archive"],
        "pages": True,
        "audit_uids": "plain",
    }
    config = node_config(tmp_path / "node", tiny_model, **keys)
    node = start_node(config, ("env", f"PYTHONPATH={tmp_path / 'loud'}:{ROOT / 'src'}"))
    try:
        with storescp(tmp_path / "archive", port, "--fork"):
            for number, kind in enumerate((None, *FAULTS)):
                study = planted_study(planted, tmp_path / f"in{number}", number)
                if kind is not None:
                    BROKEN[kind](study, planted)
                node.store(study, arguments=("+r",))
            packed = tmp_path / "Mustermann.zip"
            with zipfile.ZipFile(packed, "w") as file:
                for path in sorted(planted_study(planted, tmp_path / "zipped", 9).rglob("*.dcm")):
                    file.write(path, path.name)
            lines = [json.loads(line) for line in put(node, "/files", packed.read_bytes(), "PUT").splitlines()]
            done = node.finished(7, seconds=180)
        pages = [node.get(path) for path in ("/", "/studies", "/metrics", "/ready")]
        pages += [node.get(f"/studies/{one.name}/report/1") for one in done]
        assert [status for status, _ in pages[:4]] == [200] * 4
    finally:
        node.end()
    told = {"answers": json.dumps(lines), "log": node.log.read_text(errors="replace"), "pages": str(pages[:4])}
    assert {name: planted.found(text.encode()) for name, text in told.items()} == {name: set() for name in told}
    assert "DEBUG" in told["log"]
    files = [path for path in node.state.rglob("*") if path.is_file()]
    assert {one.parent.name for one in done} == {"sent", "refused"}
    assert planted.found("\n".join(str(one.relative_to(node.state)) for one in files).encode()) == set()
    left = {str(one): planted.found(content(one)) for one in files if not is_dicom(one)}
    assert {name: places for name, places in left.items() if places} == {}
    assert {"audit.jsonl", "report.html", "record.json"} <= {one.name for one in files}
    made = [one for one in files if "result" in one.parts and is_dicom(one)]
    assert {"PatientName"} <= set().union(*(planted.found(content(one)) for one in made)) <= COPIED
