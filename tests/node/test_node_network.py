"""A node opens connections to named peers and to nobody else. Issue 27, item 6."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.running_node import free_port, needed, node_config, start_node, storescp, study_at

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("peers", [True, False], ids=["a peer", "no peer"])
def test_a_node_connects_to_its_peers_alone(tmp_path: Path, tiny_model: Path, peers: bool) -> None:
    needed("storescu", "storescp")
    if shutil.which("strace") is None:
        pytest.skip("strace is needed: apt-get install strace")
    trace, port = tmp_path / "trace", free_port()
    keys: dict[str, Any] = {"pages": True}
    if peers:
        named = [{"name": "archive", "aet": "ARCHIVE", "host": "127.0.0.1", "port": port}]
        keys |= {"peers": named, "send_to": ["archive"]}
    config = node_config(tmp_path / "node", tiny_model, **keys)
    node = start_node(config, ("strace", "-f", "-e", "trace=connect", "-o", str(trace)))
    try:
        with storescp(tmp_path / "archive", port, "--fork"):
            node.store(study_at(tmp_path / "in"))
            (done,) = node.finished(seconds=180)
            assert done.parent.name == "sent"
    finally:
        for child in psutil.Process(node.process.pid).children():  # strace itself waits for it
            child.terminate()
        node.process.wait(60)
    found = re.findall(r"sa_family=AF_INET6?\b.*?_port=htons\((\d+)\).*?\"([\d.:a-f]+)\"", trace.read_text())
    found = [one for one in found if one[0] != "0"]  # getaddrinfo asks for a way to "any address"; nothing is sent
    assert set(found) == ({(str(port), "127.0.0.1")} if peers else set())
