"""Orthanc as a process, from Debian's packages."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.running_node import free_port, listens, needed, wait_for

PLUGINS = Path("/usr/share/orthanc/plugins")


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
def running_orthanc(folder: Path, plugin: str, package: str, **settings: Any) -> Iterator[Orthanc]:
    """Orthanc on free ports, with one plugin of a Debian package."""
    needed("Orthanc")
    file = PLUGINS / plugin
    if not file.is_file():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"no {file}: apt-get install {package}")
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
        "Plugins": [str(file)],
        **settings,
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
