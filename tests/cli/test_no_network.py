"""No connection to anywhere: thinning works without a network, and asks the system for no address outside this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ALONE = ("unshare", "--map-root-user", "--net")


def lamella(words: list[str], *before: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [*before, sys.executable, "-m", "lamella", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def usable(*words: str) -> bool:
    return shutil.which(words[0]) is not None and subprocess.run([*words, "true"], capture_output=True).returncode == 0


def test_thin_works_without_a_network(thin_command: list[str], tmp_path: Path) -> None:
    if not usable(*ALONE):
        pytest.skip("a process without a network needs Linux and the right to unshare(1); run this test there")
    beside = ["--report", str(tmp_path / "r.html"), "--preview", str(tmp_path / "p.png")]
    done = lamella([*thin_command, str(tmp_path / "out"), *beside], *ALONE)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").iterdir())) == 20


@pytest.mark.slow
def test_nothing_is_connected_to(thin_command: list[str], tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    strace = ("strace", "-f", "-e", "trace=connect,sendto", "-o")
    if not usable(*strace, str(trace)):
        pytest.skip("strace is needed: apt-get install strace")
    probe = "import socket; s = socket.socket(); s.settimeout(1); print(s.connect_ex(('127.0.0.1', 9)))"
    subprocess.run([*strace, str(trace), sys.executable, "-c", probe], check=True, capture_output=True)
    assert addresses(trace.read_text()) == ["connect AF_INET"]
    beside = ["--report", str(tmp_path / "r.html"), "--preview", str(tmp_path / "p.png")]
    done = lamella([*thin_command, str(tmp_path / "out"), *beside], *strace, str(trace))
    assert done.returncode == 0, done.stderr
    assert addresses(trace.read_text()) == []


def addresses(trace: str) -> list[str]:
    """The calls that name an internet address."""
    calls = re.findall(r"(\w+)\(.*?sa_family=(AF_INET6?)\b", trace)
    return [" ".join(call) for call in calls]
