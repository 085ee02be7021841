"""Every step of deploy/Containerfile.inference without a builder: `python benchmarks/image_steps.py FOLDER`.

FOLDER stands for the image's root: absolute paths of the image lie below it, and this Python for the base image. Then the
demo runs in it as the image would be run in a hospital: another user, nothing writable but /tmp and a volume, no network
(Linux, as root). Prints the size of what is added to the base image, and seconds.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONTAINERFILE = ROOT / "deploy" / "Containerfile.inference"
OF_THE_IMAGE = ("/opt/lamella", "/build", "/app")


def instructions() -> list[tuple[str, str]]:
    """(name, rest) of each instruction."""
    text = re.sub(r"^\s*#.*\n", "", CONTAINERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines) if name]


def inside(text: str, folder: Path) -> str:
    """The text with the image's paths below `folder`."""
    return re.sub(rf"(?<![\w.])({'|'.join(OF_THE_IMAGE)})\b", rf"{folder}\1", text)


def build(folder: Path) -> dict[str, str]:
    """Run every step; returns the environment of the last stage."""
    place, environment = folder, dict(os.environ)
    for name, rest in instructions():
        if name == "FROM":
            environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        elif name == "ARG":
            key, _, value = rest.partition("=")
            environment.setdefault(key, value.strip('"'))
        elif name == "ENV":
            for key, value in re.findall(r"(\w+)=(\S+)", rest):
                environment[key] = inside(value, folder).replace("$PATH", environment["PATH"])
        elif name == "WORKDIR":
            place = Path(inside(rest, folder))
            place.mkdir(parents=True)
        elif name == "COPY" and not rest.startswith("--from"):  # what the first stage made lies in its place already
            *sources, target = rest.split()
            for source in sources:
                copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                copy(ROOT / source, place / target)
        elif name == "RUN":
            words = inside(rest, folder).replace("python -m venv", f"{sys.executable} -m venv")
            subprocess.run(["sh", "-ec", words], cwd=place, env=environment, check=True)
        elif name not in ("COPY", "USER", "ENTRYPOINT"):
            raise ValueError(f"This script does not know {name}.")
    return environment


def run(folder: Path, environment: dict[str, str], words: list[str], volume: Path) -> str:
    """Run a command of the image: its user, its root read-only, /tmp of its own, `volume` writable, no network."""
    user = next(rest for name, rest in reversed(instructions()) if name == "USER").split(":")
    os.chown(volume, *map(int, user))
    steps = " && ".join(
        (
            f"mount --bind {folder} {folder} && mount -o remount,ro,bind {folder}",
            f"mount --bind {volume} {volume} && mount -o remount,ro,bind / && mount -t tmpfs tmpfs /tmp",
            f"cd {volume} && exec setpriv --reuid {user[0]} --regid {user[1]} --clear-groups {' '.join(words)}",
        )
    )
    done = subprocess.run(
        ["unshare", "--mount", "--net", "sh", "-ec", steps],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode:
        raise RuntimeError(f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout + done.stderr


def main(folder: Path) -> str:
    """All steps; returns what the demo said."""
    folder = folder.resolve()
    root, volume = folder / "root", folder / "volume"
    root.mkdir(parents=True)
    volume.mkdir()
    began = time.perf_counter()
    environment = build(root)
    size = sum(file.lstat().st_size for file in (root / "opt").rglob("*") if file.is_file()) // 2**20
    print(f"built   {size} MiB beside the base image, {time.perf_counter() - began:.0f} s")
    began = time.perf_counter()
    said = run(root, environment, ["lamella", "demo", "demo"], volume)
    print(f"thinned the demo in {time.perf_counter() - began:.0f} s as another user, root read-only, without a network")
    return said


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
