"""The OHIF viewer of npm before a DICOMweb server, on one origin: its files, a config, and everything else passed on."""

from __future__ import annotations

import json
import mimetypes
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NoReturn

import pytest

PACKAGE = "@ohif/app@3.12.10"
HOME = Path.home() / ".cache" / "lamella" / "ohif-3.12.10"
"""Outlives a checkout: 48 MB to fetch."""
_CONFIG = {
    "routerBasename": None,
    "extensions": [],
    "modes": [],
    "customizationService": {},
    "showStudyList": True,
    "maxNumberOfWebWorkers": 2,
    "showLoadingIndicator": True,
    "strictZSpacingForVolumeViewport": True,
    "investigationalUseDialog": {"option": "never"},
    "defaultDataSourceName": "orthanc",
    "dataSources": [
        {
            "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
            "sourceName": "orthanc",
            "configuration": {
                "friendlyName": "Orthanc",
                "name": "orthanc",
                "wadoUriRoot": "/dicom-web",
                "qidoRoot": "/dicom-web",
                "wadoRoot": "/dicom-web",
                "qidoSupportsIncludeField": True,
                "imageRendering": "wadors",
                "thumbnailRendering": "wadors",
                "enableStudyLazyLoad": True,
                "supportsFuzzyMatching": False,
                "supportsWildcard": True,
                "omitQuotationForMultipartRequest": True,
            },
        }
    ],
}


def ohif() -> Path:
    """Folder of the viewer, fetched by npm once; without npm or its registry a skip, in CI an error."""
    if not (HOME / "index.html").is_file():
        if shutil.which("npm") is None:
            _lacking(f"no npm, which fetches {PACKAGE}: apt-get install npm")
        HOME.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=HOME.parent) as part:
            words = ["npm", "pack", PACKAGE, "--silent", "--pack-destination", part]
            if subprocess.run(words, capture_output=True, timeout=300).returncode:
                _lacking(f"npm cannot fetch {PACKAGE}: no network")
            with tarfile.open(next(Path(part).glob("*.tgz"))) as archive:
                archive.extractall(part, filter="data")
            (Path(part) / "package" / "dist").rename(HOME)
    return HOME


def _lacking(words: str) -> NoReturn:
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(words)


@contextmanager
def running_ohif(web: str) -> Iterator[str]:
    """The viewer's address, before a DICOMweb server whose address ends in /dicom-web."""
    files, upstream = ohif(), web.removesuffix("/dicom-web")

    class Handler(BaseHTTPRequestHandler):
        """Files of the viewer; what begins with /dicom-web comes from the server."""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path.startswith("/dicom-web"):
                accept = {"Accept": self.headers.get("Accept", "*/*"), "Host": upstream.partition("//")[2]}
                with urllib.request.urlopen(urllib.request.Request(upstream + self.path, headers=accept)) as answer:
                    self._say(answer.read(), answer.headers["Content-Type"])
            elif path == "/app-config.js":
                self._say(f"window.config = {json.dumps(_CONFIG)};".encode(), "text/javascript")
            else:
                file = files / path.lstrip("/")
                file = file if file.is_file() else files / "index.html"
                kind = "application/wasm" if file.suffix == ".wasm" else mimetypes.guess_type(file.name)[0]
                self._say(file.read_bytes(), kind or "application/octet-stream")

        def _say(self, content: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
