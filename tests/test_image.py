"""The container image: who runs in it, what it gets, and in which versions."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONTAINERFILE = ROOT / "deploy" / "Containerfile"
IGNORED = ROOT / "deploy" / "Containerfile.dockerignore"


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^\s*#.*\n", "", CONTAINERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines) if name]


def user_of_the_image() -> str:
    return [rest for name, rest in instructions() if name == "USER"][-1]


def test_the_image_runs_as_a_numbered_user_and_names_no_registry() -> None:
    found = instructions()
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user_of_the_image())
    assert found[-1] == ("ENTRYPOINT", '["lamella"]')
    text = "\n".join(f"{name} {rest}" for name, rest in found)
    assert not re.search(r"https?://|[\w-]+\.(io|com|org|net|dev)\b", text)
    assert not re.search(r":latest\b", text)
    assert re.search(r"^ARG BASE_IMAGE=\w+:[\w.-]+$", text, flags=re.MULTILINE)
    assert {rest.split(" AS ")[0] for name, rest in found if name == "FROM"} == {"${BASE_IMAGE}"}


def test_the_image_gets_what_it_needs_and_no_scan() -> None:
    copied = {rest.split()[0] for name, rest in instructions() if name == "COPY" and not rest.startswith("--from")}
    copied |= {one for name, rest in instructions() if name == "COPY" for one in rest.split()[1:-1] if "--" not in rest}
    lines = [line for line in IGNORED.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_image_has_the_versions_of_the_published_figures() -> None:
    installs = [
        one for name, rest in instructions() if name == "RUN" for one in re.findall(r"pip install ([^&]+)", rest)
    ]
    assert len(installs) == 2
    assert all(one.startswith("--constraint constraints.txt ") for one in installs)
    assert re.search(
        r"^torch==\d+\.\d+\.\d+$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
