"""The container images: who runs in them, what they get, in which versions; and the steps of the one for inference."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTAINERFILES = [ROOT / "deploy" / name for name in ("Containerfile", "Containerfile.inference")]
EACH = pytest.mark.parametrize("image", CONTAINERFILES, ids=lambda file: file.name)


def instructions(image: Path) -> list[tuple[str, str]]:
    text = re.sub(r"^\s*#.*\n", "", image.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines) if name]


def user_of_the_image(image: Path = CONTAINERFILES[0]) -> str:
    return [rest for name, rest in instructions(image) if name == "USER"][-1]


@EACH
def test_the_image_runs_as_a_numbered_user_and_names_no_registry(image: Path) -> None:
    found = instructions(image)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user_of_the_image(image))
    assert found[-1] == ("ENTRYPOINT", '["lamella"]')
    text = "\n".join(f"{name} {rest}" for name, rest in found)
    assert not re.search(r"https?://|[\w-]+\.(io|com|org|net|dev)\b", text)
    assert not re.search(r":latest\b", text)
    assert re.search(r"^ARG BASE_IMAGE=\w+:[\w.-]+$", text, flags=re.MULTILINE)
    assert {rest.split(" AS ")[0] for name, rest in found if name == "FROM"} == {"${BASE_IMAGE}"}


@EACH
def test_the_image_gets_what_it_needs_and_no_scan(image: Path) -> None:
    copied = {rest.split()[0] for name, rest in instructions(image) if name == "COPY" and not rest.startswith("--from")}
    copied |= {
        one for name, rest in instructions(image) if name == "COPY" for one in rest.split()[1:-1] if "--" not in rest
    }
    ignored = image.with_name(f"{image.name}.dockerignore")
    lines = [line for line in ignored.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    assert [name for name in copied if not (ROOT / name).exists()] == []


@EACH
def test_the_image_has_the_versions_of_the_published_figures(image: Path) -> None:
    installs = [
        one for name, rest in instructions(image) if name == "RUN" for one in re.findall(r"pip install ([^&]+)", rest)
    ]
    assert len(installs) == 2
    assert all(one.startswith("--constraint constraints.txt ") for one in installs)
    assert re.search(
        r"^torch==\d+\.\d+\.\d+$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), flags=re.MULTILINE
    )


def test_the_image_for_inference_has_no_training_tools_and_no_cuda() -> None:
    text = "\n".join(f"{name} {rest}" for name, rest in instructions(CONTAINERFILES[1]))
    assert "'.[report,node]'" in text
    assert "torch.version.cuda is None" in text
    assert not re.search(r"\btrain\b|configs|nvidia", text, flags=re.IGNORECASE)


@pytest.mark.slow
def test_the_steps_of_the_image_for_inference() -> None:
    """With a builder they are built; without one every step runs in a fresh folder, then the demo as in a hospital."""
    builder = next((name for name in ("podman", "buildah", "docker") if works(name)), None)
    if builder is not None:
        words = ["build", "-f", str(CONTAINERFILES[1]), "-t", "lamella-inference:test", str(ROOT)]
        assert subprocess.run([builder, *words], timeout=1800).returncode == 0
        return
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("no builder (podman, buildah, docker), and the steps alone need root on Linux")
    script = str(ROOT / "benchmarks" / "image_steps.py")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # the image has a /tmp of its own
        Path(folder).chmod(0o755)  # the image's user goes through it
        words = [sys.executable, script, f"{folder}/image"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    assert "as another user, root read-only, without a network" in done.stdout


def works(builder: str) -> bool:
    return shutil.which(builder) is not None and subprocess.run([builder, "info"], capture_output=True).returncode == 0
