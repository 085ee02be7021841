"""A node as a process, and real peers of it: dcmtk's programs, Orthanc."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from lamella.node.states import FINAL, STATES
from tests.dicom_builder import body_hu, build_series

ROOT = Path(__file__).parents[1]
STUDY = "1.2.826.0.1.3680043.8.498.2"


def needed(*programs: str) -> None:
    """Skip where a peer is not installed; an error where CI promises it."""
    lacking = [name for name in programs if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if lacking:
        words = f"no {', '.join(lacking)}: apt-get install dcmtk dcm2niix orthanc orthanc-dicomweb"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(words)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 90.0) -> Any:
    """The first true value of `condition`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds:g} s for {what}")


def listens(port: int) -> bool:
    """Whether anybody answers at a port."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def study_at(folder: Path, number: int = 1, slices: int = 8, side: int = 32, **how: Any) -> Path:
    """A thick study of its own UIDs."""
    series, study = f"1.2.826.0.1.3680043.8.498.1.{number}", f"{STUDY}.{number}"
    build_series(folder, body_hu(slices, side, number), series_uid=series, study_uid=study, **how)
    return folder


@dataclass
class RunningNode:
    """A node that listens, in a process of its own."""

    process: subprocess.Popen[bytes]
    state: Path
    port: int
    http: int
    config: Path
    log: Path

    def folders(self, *states: str) -> list[Path]:
        """The rounds that are in these states."""
        return [one for state in states for one in sorted((self.state / state).iterdir())]

    def finished(self, count: int = 1, seconds: float = 90.0) -> list[Path]:
        """The finished rounds, once there are so many and nothing else."""

        def found() -> list[Path]:
            if self.process.poll() is not None:
                raise AssertionError(f"the node ended: {self.log.read_text()[-2000:]}")
            done = self.folders(*FINAL)
            return done if len(done) == count and not self.folders(*(set(STATES) - set(FINAL))) else []

        return wait_for(found, f"{count} finished studies in {self.state}", seconds)  # type: ignore[no-any-return]

    def get(self, path: str, token: str = "") -> tuple[int, str]:
        """(status, body) of an HTTP request."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def audit(self) -> list[dict[str, Any]]:
        """The audit log."""
        return [json.loads(line) for line in (self.state / "audit.jsonl").read_text().splitlines()]

    def store(self, *files: Path, arguments: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """dcmtk's storescu sends files or folders."""
        words = ["storescu", "-v", *arguments, "-aec", "LAMELLA", "127.0.0.1", str(self.port), "+sd", *map(str, files)]
        return subprocess.run(words, capture_output=True, text=True, timeout=120)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


def node_config(folder: Path, model: Path | str, **keys: Any) -> Path:
    """The YAML of a node on free ports, quick and small unless `keys` say otherwise."""
    settings: dict[str, Any] = {
        "state": str(folder / "state"),
        "dicom": {"aet": "LAMELLA", "port": free_port()},
        "http": {"port": free_port()},
        "close_after_s": 1,
        "thin": {"model": str(model), "spacing_mm": 2.5, "device": "cpu"},
        "limits": {"disk_free_gb": 0.01},
        "retry": {"first_s": 0.5, "longest_s": 1, "timeout_s": 10},
    }
    for name, value in keys.items():
        settings[name] = {**settings[name], **value} if isinstance(settings.get(name), dict) else value
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "node.yaml"
    config.write_text(yaml.safe_dump(settings))
    return config


def start_node(config: Path, before: Sequence[str] = (), waits: bool = True, seconds: float = 90.0) -> RunningNode:
    """Start a node and wait until it is ready."""
    settings = yaml.safe_load(config.read_text())
    log = config.with_suffix(".log")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    with log.open("ab") as file:
        words = [*before, sys.executable, "-m", "lamella", "serve", str(config)]
        process = subprocess.Popen(words, stdout=file, stderr=file, env=environment)
    port, http = settings["dicom"]["port"], settings["http"]["port"]
    node = RunningNode(process, Path(settings["state"]), port, http, config, log)
    if waits:
        wait_for(
            lambda: process.poll() is not None or (listens(http) and node.get("/ready")[0] == 200),
            "a ready node",
            seconds,
        )
        assert process.poll() is None, log.read_text()
    return node


@contextmanager
def running_node(folder: Path, model: Path | str, **keys: Any) -> Iterator[RunningNode]:
    """A node for the time of a block."""
    node = start_node(node_config(folder, model, **keys))
    try:
        yield node
    finally:
        if node.process.poll() is None:
            node.process.kill()
            node.process.wait()


@contextmanager
def storescp(folder: Path, port: int, *arguments: str) -> Iterator[Path]:
    """dcmtk's storescp for the time of a block; the folder that it writes into."""
    needed("storescp")
    folder.mkdir(parents=True, exist_ok=True)
    words = ["storescp", *arguments, "--output-directory", str(folder), str(port)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: listens(port), "storescp")
            yield folder
        finally:
            process.kill()
