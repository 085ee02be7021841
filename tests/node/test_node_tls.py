"""DICOM TLS both ways, with certificates that openssl makes: dcmtk with the right one comes in, others do not."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.running_node import free_port, needed, running_node, storescp, study_at

from lamella.node.settings import TlsSettings

pytestmark = pytest.mark.slow


def authority(folder: Path, *names: str) -> dict[str, Path]:
    """An authority, and a key and certificate of it for each name: NAME.key, NAME.crt, ca.crt."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    folder.mkdir()
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ca")
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in names:
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", "r", "-subj", f"/CN={name}")
        openssl(
            "x509", "-req", "-in", "r", "-CA", "ca.crt", "-CAkey", "ca.key", "-out", f"{name}.crt", "-extfile", "san"
        )
    return {file.name: file for file in folder.iterdir()}


def test_a_study_comes_and_goes_by_tls(tmp_path: Path, tiny_model: Path) -> None:
    # SPEC C7
    needed("storescu", "storescp", "openssl")
    files, strange = authority(tmp_path / "ours", "node", "peer"), authority(tmp_path / "theirs", "peer")
    port, ca = free_port(), ["+cf", str(files["ca.crt"])]
    keys: dict[str, Any] = {
        "dicom": {
            "tls": {"certificate": str(files["node.crt"]), "key": str(files["node.key"]), "ca": str(files["ca.crt"])}
        },
        "peers": [{"name": "pacs", "aet": "PACS", "host": "127.0.0.1", "port": port, "tls": True}],
        "send_to": ["pacs"],
    }
    study = study_at(tmp_path / "in")
    peer = ["+tls", str(files["peer.key"]), str(files["peer.crt"]), *ca]
    with (
        storescp(tmp_path / "received", port, *peer) as received,
        running_node(tmp_path / "node", tiny_model, **keys) as node,
    ):
        assert node.store(study).returncode != 0
        assert node.store(study, arguments=["+tla", *ca]).returncode != 0
        assert (
            node.store(study, arguments=["+tls", str(strange["peer.key"]), str(strange["peer.crt"]), *ca]).returncode
            != 0
        )
        assert node.folders("incoming") == []
        assert node.store(study, arguments=peer).returncode == 0
        (done,) = node.finished()
        assert done.parent.name == "sent"
        assert len(list(received.iterdir())) == 16
        assert sum(line["event"] == "connection failed" for line in node.audit()) >= 2
        assert "Traceback" not in node.log.read_text()


def test_settings_ask_for_client_certificates_unless_told_otherwise() -> None:
    assert TlsSettings(Path("c"), Path("k"), Path("ca")).client_certificate
