"""From the sources to a thinned study on a machine without a network: `python benchmarks/offline_install.py FOLDER`.

Here, with a network: a wheel of Lamella, and the wheels of everything that a plain installation needs, in FOLDER/wheels.
There, without one (Linux: `unshare --net`): a new environment, `pip install --no-index` from that folder, `lamella demo`.
Prints sizes and seconds. What it prints last is the demo's own summary.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
NO_NETWORK = ("unshare", "--map-root-user", "--net")


def collect(folder: Path) -> Path:
    """The wheel of Lamella and those of its base dependencies, in the versions of the published figures."""
    wheels = folder / "wheels"
    words = ["--quiet", "--disable-pip-version-check", "--constraint", str(ROOT / "constraints.txt")]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *words, "--wheel-dir", str(wheels), str(ROOT)], check=True, timeout=900
    )
    return wheels


def install(folder: Path, wheels: Path) -> Path:
    """A new environment from `wheels` alone; returns its `bin`."""
    venv.create(folder / "environment", with_pip=True)
    programs = folder / "environment" / ("Scripts" if os.name == "nt" else "bin")
    words = ["--isolated", "install", "--quiet", "--no-compile", "--no-index", "--find-links", str(wheels), "lamella"]
    alone([str(programs / "python"), "-m", "pip", *words], folder)
    return programs


def alone(words: list[str], folder: Path) -> str:
    """Run without a network and without pip's settings; returns what was printed.

    Raises:
        RuntimeError: it failed; the message holds what it printed.
    """
    # pip's settings could name other folders of wheels
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "PYTHON"))}
    environment["PIP_CONFIG_FILE"] = os.devnull
    done = subprocess.run(
        [*NO_NETWORK, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )
    if done.returncode != 0:
        raise RuntimeError(f"{words[0]} {words[-1]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def mib(folder: Path) -> int:
    """Size of all files below a folder."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file()) // 2**20


def main(folder: Path) -> str:
    """All steps; returns what the demo said."""
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    wheels = collect(folder)
    print(f"collected   {len(list(wheels.iterdir()))} wheels, {mib(wheels)} MiB, {time.perf_counter() - began:.0f} s")
    began = time.perf_counter()
    programs = install(folder, wheels)
    print(f"installed   {mib(folder / 'environment')} MiB, {time.perf_counter() - began:.0f} s, without a network")
    began = time.perf_counter()
    said = alone([str(programs / "lamella"), "demo", "demo"], folder)
    print(f"lamella demo, {time.perf_counter() - began:.0f} s, without a network:\n{said}")
    return said


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
