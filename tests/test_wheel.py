"""What pip installs: the wheel holds every file of the package, and works without a network."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lamella import __version__

ROOT = Path(__file__).parents[1]


def can_cut_the_network() -> bool:
    command = ["unshare", "--map-root-user", "--net", "true"]
    return shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.slow
def test_the_wheel_holds_the_package(tmp_path: Path) -> None:
    words = ["--quiet", "--disable-pip-version-check", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *words], check=True, timeout=300)
    with zipfile.ZipFile(tmp_path / f"lamella-{__version__}-py3-none-any.whl") as wheel:
        names = {name for name in wheel.namelist() if name.startswith("lamella/")}
        metadata = wheel.read(f"lamella-{__version__}.dist-info/METADATA").decode()
    listed = ["git", "-C", str(ROOT / "src"), "ls-files", "--cached", "--others", "--exclude-standard", "lamella"]
    files = subprocess.run(listed, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    assert names == {name for name in files if (ROOT / "src" / name).exists()}
    assert "lamella/py.typed" in names
    for ending in (".safetensors", ".yaml", ".html", ".js", ".css"):
        assert any(name.endswith(ending) for name in names), ending
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.11" in metadata


@pytest.mark.slow
@pytest.mark.skipif(not can_cut_the_network(), reason="this system cuts no process off the network")
def test_a_folder_of_wheels_is_enough(tmp_path: Path) -> None:
    script = str(ROOT / "benchmarks" / "offline_install.py")
    done = subprocess.run([sys.executable, script, str(tmp_path)], capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    assert "gain +" in done.stdout
    assert "pip install 'lamella[report]'" in done.stdout  # for the preview
    assert (tmp_path / "demo" / "report.json").is_file()
    assert not (tmp_path / "demo" / "preview.png").exists()
    shutil.rmtree(tmp_path / "environment")
    shutil.rmtree(tmp_path / "wheels")
